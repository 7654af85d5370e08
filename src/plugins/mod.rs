//! Plugins: WebAssembly components in a sandbox, loaded from files.
//!
//! The only module that uses wasmtime. In the order of a plugin's life: [`Folder`] finds
//! a [`PluginFile`]; [`Host::load`] makes a component from its bytes (`component`),
//! checks that its imports and exports are the router's (`interface`), compiles it or
//! finds its code in the cache (`cache`), and asks it for its subscriptions (`call`). The
//! resulting [`Plugin`] starts [`Instance`]s, and an instance answers events.
//!
//! What the sandbox promises:
//! - a guest has clocks, randomness, its settings and a log, and nothing else;
//! - each call ends within the plugin's time limit, whatever the guest does, and yields
//!   its thread every few milliseconds until then;
//! - memory, tables, stack, and the size of what a guest returns are limited;
//! - a guest that breaks is thrown away, and the next event gets a new one.

mod bindings;
mod cache;
mod call;
mod component;
mod convert;
mod engine;
mod failure;
mod file;
mod folder;
mod guest;
mod host;
mod imports;
mod instance;
mod interface;
mod load;
mod log;
mod plugin;
mod runtime;

pub use component::Kind;
pub use file::PluginFile;
pub use folder::{Change, Folder, check_name, is_plugin_file};
pub use host::Host;
pub use instance::Instance;
pub use interface::{INTERFACE_VERSION, Interface, is_granted};
pub use load::inspect;
pub use plugin::Plugin;
