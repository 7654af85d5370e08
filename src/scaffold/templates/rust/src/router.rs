//! What the router and the plugin are to each other: the interface's types, the settings, the log.

wit_bindgen::generate!({ path: "wit", world: "plugin", generate_all });

use exports::os2mo::router::filter::Guest;
#[allow(unused_imports, reason = "what a plugin may need")]
pub use os2mo::router::types::{Datetime, Due, Event, Failure, Publication, Topic};
pub use wasi::logging::logging::Level;

struct Plugin;

impl Guest for Plugin {
    fn subscriptions() -> Vec<String> {
        log_panics();
        crate::subscriptions()
    }

    fn route(event: Event) -> Result<Vec<Publication>, Failure> {
        log_panics();
        crate::route(event)
    }
}

// A native linker, as in `cargo test`, cannot take the names of the exports.
#[cfg(target_arch = "wasm32")]
export!(Plugin);

/// There is no standard error: a panic's message goes to the log, from where the router takes it
/// into the reason of the failure. Lines printed with `println!` are lost; use [`log`].
fn log_panics() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        std::panic::set_hook(Box::new(|panic| log(Level::Critical, "panic", &panic.to_string())));
    });
}

/// The event itself, unchanged, at once.
impl Default for Publication {
    fn default() -> Self {
        Self {
            exchange: None,
            routing_key: None,
            body: None,
            headers: Vec::new(),
            due: Due::Now,
            key: None,
        }
    }
}

/// The setting `[plugin.NAME] config.KEY`, or `default` where it is not set.
pub fn setting(key: &str, default: &str) -> String {
    host::get(key).unwrap_or_else(|| default.to_owned())
}

/// Writes to the router's log.
pub fn log(level: Level, context: &str, message: &str) {
    host::log(level, context, message);
}

#[cfg(not(test))]
mod host {
    pub(super) use super::wasi::logging::logging::log;

    pub(super) fn get(key: &str) -> Option<String> {
        super::wasi::config::store::get(key).ok().flatten()
    }
}

/// What takes the router's place in unit tests, which run natively: each test has its own.
#[cfg(test)]
pub mod host {
    use super::Level;
    use std::cell::RefCell;
    use std::collections::BTreeMap;

    thread_local! {
        static SETTINGS: RefCell<BTreeMap<String, String>> = RefCell::default();
        static LOGGED: RefCell<Vec<(Level, String)>> = RefCell::default();
    }

    /// Sets `config.KEY`.
    pub fn set(key: &str, value: &str) {
        SETTINGS.with_borrow_mut(|settings| settings.insert(key.to_owned(), value.to_owned()));
    }

    /// What was logged so far.
    pub fn logged() -> Vec<(Level, String)> {
        LOGGED.with_borrow(Clone::clone)
    }

    pub(super) fn get(key: &str) -> Option<String> {
        SETTINGS.with_borrow(|settings| settings.get(key).cloned())
    }

    pub(super) fn log(level: Level, _context: &str, message: &str) {
        LOGGED.with_borrow_mut(|logged| logged.push((level, message.to_owned())));
    }
}
