//! Plugins: WebAssembly components in a sandbox, loaded from files.
//!
//! The one module that speaks wasmtime. In the order of a plugin's life:
//! [`Host::load`] takes a file's bytes, makes a component of them
//! (`component`), checks that it speaks the router's interface and imports
//! nothing that is not granted (`interface`), compiles it or finds its code in
//! the cache (`cache`), and asks it for its subscriptions. The [`Plugin`] that
//! comes of it starts [`Instance`]s, and an instance answers events.
//!
//! What the sandbox promises:
//! - a guest has clocks, randomness, its settings and a log, and nothing else;
//! - each call ends within the plugin's time limit, whatever the guest does, and
//!   gives its thread back every few milliseconds meanwhile;
//! - memory, tables, stack, and what a guest hands to the router are bounded;
//! - what breaks is thrown away, and the next event gets a new instance.

mod bindings;
mod cache;
mod component;
mod engine;
mod folder;
mod guest;
mod host;
mod imports;
mod instance;
mod interface;
mod load;
mod log;
mod runtime;

pub use component::Kind;
pub use folder::{Change, Folder, check_name, is_plugin_file};
pub use host::Host;
pub use instance::Instance;
pub use interface::{INTERFACE_VERSION, Interface, is_granted};
pub use load::{Plugin, Source, inspect};
