//! How well a folder can be seen.

/// How well a folder can be seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sight {
    /// Why it cannot be read; the plugins stay as they are until it can be.
    pub unreadable: Option<String>,
    /// Why its changes are not announced; it is scanned every 2 s.
    pub polling: Option<String>,
}
