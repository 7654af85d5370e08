//! What the router and the plugin are to each other: the interface's types, the settings, the log.

wit_bindgen::generate!({
    path: "wit",
    world: "plugin",
    generate_all,
    // `Publication::default()` is the event itself, unchanged, at once.
    additional_derives: [Default],
    additional_derives_ignore: ["due", "failure", "value", "level", "error"],
});

use std::collections::BTreeMap;

use exports::os2mo::router::filter::Guest;
#[allow(unused_imports, reason = "what a plugin may need")]
pub use os2mo::router::types::{Datetime, Due, Event, Failure, Publication, Topic, Value};
pub use wasi::logging::logging::Level;

struct Plugin;

impl Guest for Plugin {
    fn subscriptions() -> Vec<String> {
        log_panics();
        crate::subscriptions()
    }

    fn route(event: Event) -> Result<Vec<Publication>, Failure> {
        log_panics();
        // By its address it stays a function, whose name is in the reason of a failure.
        let route: fn(Event) -> Result<Vec<Publication>, Failure> = crate::route;
        std::hint::black_box(route)(event)
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

#[allow(clippy::derivable_impls, reason = "the type is generated")]
impl Default for Due {
    fn default() -> Self {
        Due::Now
    }
}

/// Headers: `("name".to_owned(), "text".into())`, with a number, or with `Value::Timestamp(0)`.
macro_rules! values {
    ($($of:ty => $case:ident,)*) => {
        $(impl From<$of> for Value {
            fn from(value: $of) -> Self {
                Value::$case(value.into())
            }
        })*
    };
}

values! {
    &str => Text,
    String => Text,
    bool => Boolean,
    i32 => Int32,
    i64 => Int64,
    f64 => Double,
}

#[allow(dead_code, reason = "what a plugin may need")]
impl Value {
    /// The text, of a text.
    pub fn text(&self) -> Option<&str> {
        match self {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The number, of an integer of any size.
    pub fn int(&self) -> Option<i64> {
        match *self {
            Value::Int8(number) => Some(number.into()),
            Value::Int16(number) => Some(number.into()),
            Value::Int32(number) => Some(number.into()),
            Value::Int64(number) => Some(number),
            Value::Uint8(number) => Some(number.into()),
            Value::Uint16(number) => Some(number.into()),
            Value::Uint32(number) => Some(number.into()),
            _ => None,
        }
    }
}

#[allow(dead_code, reason = "what a plugin may need")]
impl Event {
    /// The value of a header, if the event has it.
    pub fn header(&self, name: &str) -> Option<&Value> {
        self.headers.iter().find(|(own, _)| own == name).map(|(_, value)| value)
    }
}

/// The setting `[plugin.NAME] config.KEY`, or `default` where it is not set.
pub fn setting(key: &str, default: &str) -> String {
    host::get(key).unwrap_or_else(|| default.to_owned())
}

/// All settings `[plugin.NAME] config.*`, by their keys.
#[allow(dead_code, reason = "what a plugin may need")]
pub fn all_settings() -> BTreeMap<String, String> {
    host::get_all()
}

/// Writes to the router's log.
pub fn log(level: Level, context: &str, message: &str) {
    host::log(level, context, message);
}

/// The time. `SystemTime::now` panics in the sandbox.
#[allow(dead_code, reason = "what a plugin may need")]
pub fn now() -> Datetime {
    host::now()
}

/// A random number.
#[allow(dead_code, reason = "what a plugin may need")]
pub fn random() -> u64 {
    system::random()
}

/// The clock and the randomness of WASI, which the router has, though Rust has none for this target.
#[cfg(target_arch = "wasm32")]
mod system {
    use super::Datetime;

    #[link(wasm_import_module = "wasi_snapshot_preview1")]
    unsafe extern "C" {
        fn clock_time_get(clock: u32, precision: u64, nanoseconds: *mut u64) -> u32;
        fn random_get(to: *mut u8, size: usize) -> u32;
    }

    pub(super) fn now() -> Datetime {
        const REAL_TIME: u32 = 0;
        let mut nanoseconds = 0;
        // SAFETY: there is room for what is written.
        let error = unsafe { clock_time_get(REAL_TIME, 1, &mut nanoseconds) };
        assert!(error == 0, "the clock cannot be read: error {error} of WASI");
        Datetime {
            seconds: (nanoseconds / 1_000_000_000) as i64,
            nanoseconds: (nanoseconds % 1_000_000_000) as u32,
        }
    }

    pub(super) fn random() -> u64 {
        let mut bytes = [0; 8];
        // SAFETY: there is room for what is written.
        let error = unsafe { random_get(bytes.as_mut_ptr(), bytes.len()) };
        assert!(error == 0, "there is no randomness: error {error} of WASI");
        u64::from_le_bytes(bytes)
    }
}

/// The same natively, in unit tests.
#[cfg(not(target_arch = "wasm32"))]
mod system {
    use super::Datetime;
    use std::hash::{BuildHasher, RandomState};
    use std::time::{SystemTime, UNIX_EPOCH};

    pub(super) fn now() -> Datetime {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Datetime { seconds: since.as_secs() as i64, nanoseconds: since.subsec_nanos() }
    }

    pub(super) fn random() -> u64 {
        RandomState::new().hash_one(0)
    }
}

#[cfg(not(test))]
mod host {
    use super::BTreeMap;
    pub(super) use super::system::now;
    pub(super) use super::wasi::logging::logging::log;

    pub(super) fn get(key: &str) -> Option<String> {
        super::wasi::config::store::get(key).ok().flatten()
    }

    pub(super) fn get_all() -> BTreeMap<String, String> {
        super::wasi::config::store::get_all().unwrap_or_default().into_iter().collect()
    }
}

/// What takes the router's place in unit tests, which run natively: each test has its own.
#[cfg(test)]
#[allow(dead_code, reason = "what a test may need")]
pub mod host {
    use super::{BTreeMap, Datetime, Level, system};
    use std::cell::{Cell, RefCell};

    thread_local! {
        static SETTINGS: RefCell<BTreeMap<String, String>> = RefCell::default();
        static LOGGED: RefCell<Vec<(Level, String)>> = RefCell::default();
        static NOW: Cell<Option<Datetime>> = const { Cell::new(None) };
    }

    /// Sets `config.KEY`.
    pub fn set(key: &str, value: &str) {
        SETTINGS.with_borrow_mut(|settings| settings.insert(key.to_owned(), value.to_owned()));
    }

    /// Sets the time, which is the machine's until then.
    pub fn at(time: Datetime) {
        NOW.set(Some(time));
    }

    /// What was logged so far.
    pub fn logged() -> Vec<(Level, String)> {
        LOGGED.with_borrow(Clone::clone)
    }

    pub(super) fn now() -> Datetime {
        NOW.get().unwrap_or_else(system::now)
    }

    pub(super) fn get(key: &str) -> Option<String> {
        SETTINGS.with_borrow(|settings| settings.get(key).cloned())
    }

    pub(super) fn get_all() -> BTreeMap<String, String> {
        SETTINGS.with_borrow(Clone::clone)
    }

    pub(super) fn log(level: Level, _context: &str, message: &str) {
        LOGGED.with_borrow_mut(|logged| logged.push((level, message.to_owned())));
    }
}
