//! A loaded plugin.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use semver::Version;

use super::component::Kind;
use super::digest::Digest;
use super::file::FoundFile;
use super::guest::GuestSetup;
use super::homes::Homes;
use super::interface::Interface;
use super::metadata::Metadata;
use crate::settings::{InstanceMode, LogLevel};

/// A plugin that loaded: compiled code, and what is known about it.
#[derive(Clone)]
pub struct Plugin {
    /// Its name: the file's, without the extension.
    pub name: String,
    /// The file.
    pub path: PathBuf,
    /// 12 hexadecimal digits of a hash of the file's content.
    pub version: String,
    /// What the file says of itself.
    pub metadata: Metadata,
    /// The version, and what the file says of it: as people are told in the log, dead letters and
    /// tables.
    pub label: String,
    /// The version of `os2mo:router` that it was built against.
    pub interface_version: Version,
    /// What kind of file it was.
    pub kind: Kind,
    /// What it imports and exports.
    pub interface: Interface,
    /// The topic patterns that it subscribes to.
    pub subscriptions: Vec<String>,
    /// The file's size in bytes.
    pub size: usize,
    /// How long it took to compile the code, or to find it in the cache.
    pub compile_time: Duration,
    /// Whether the code came from the cache.
    pub cached: bool,
    /// What the file's content is known by.
    pub(super) content: Digest,
    /// Shared by all that differ in their settings alone.
    pub(super) homes: Arc<Homes>,
    pub(super) setup: GuestSetup,
    pub(super) mode: InstanceMode,
}

impl Plugin {
    /// Logs nothing more of what the plugin says: for many calls whose answers matter alone.
    pub fn mute(&self) {
        self.setup.threshold.set(Some(LogLevel::Off));
    }

    /// Whether it was loaded from this content.
    pub fn is_of(&self, file: &FoundFile) -> bool {
        self.content == file.digest
    }

    /// The bytes of memory and tables that its instances use now.
    pub fn memory_in_use(&self) -> u64 {
        self.setup.in_use.load(Ordering::Relaxed)
    }
}
