//! Plugins: WebAssembly components in a sandbox, loaded from files.
//!
//! The only module that uses wasmtime. In the order of a plugin's life: [`Folder`] finds
//! a file, from which a [`PluginFile`] is read; [`Host::load`] finds its code in the cache
//! (`cache`), or has it compiled in a process of its own (`compile`): there the structure of the
//! file is checked (`bounds`), a component is made from its bytes (`component`), whose imports
//! and exports have to be the router's (`interface`). It gets a place to run (`homes`), is bound
//! to the version of the interface that it was built against (`bindings`), and asked for its
//! subscriptions (`call`). The resulting [`Plugin`] starts [`Instance`]s, and an instance answers
//! events.
//!
//! What the sandbox promises:
//! - a guest has clocks, randomness, its settings and a log, and nothing else;
//! - each call ends within the plugin's time limit, whatever the guest does, and yields
//!   its thread every few milliseconds until then;
//! - memory, tables, stack, log, what its instances cost the host, and the size of what a
//!   guest returns are limited;
//! - what a file makes of the compiler reaches nothing but that file;
//! - a guest that breaks is thrown away, and the next event gets a new one.

mod bindings;
mod bounds;
mod cache;
mod call;
mod clocks;
mod compile;
mod component;
mod digest;
mod engine;
mod failure;
mod file;
mod folder;
mod guest;
mod homes;
mod host;
mod imports;
mod instance;
mod interface;
mod load;
mod log;
mod metadata;
mod output;
mod plugin;
mod runtime;
mod sections;
mod store;
mod ticker;
mod time;

pub use compile::{
    Description, LOWEST_PRIORITY, MachineFault, Share, Task, compile_on_standard_streams,
};
pub use component::{Kind, is_whole};
pub use engine::Codegen;
pub use failure::Temporary;
pub use file::{FoundFile, NotAsFound, PluginFile};
pub use folder::{
    Change, Folder, Forgetter, LONGEST_NAME, SLOW, Scanning, Sight, Sights, check_name,
    is_plugin_file,
};
pub use host::Host;
pub use instance::Instance;
pub use interface::{INTERFACE_VERSIONS, Interface, is_granted};
pub use log::{LineEvent, LogLine, LogLines, RecentLines};
pub use metadata::Metadata;
pub use plugin::Plugin;
