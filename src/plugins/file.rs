//! A plugin's file, as it was read.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use bytes::Bytes;

/// A plugin's file and its content.
#[derive(Clone, Debug)]
pub struct PluginFile {
    /// The plugin's name.
    pub name: String,
    /// Where the file is, for messages.
    pub path: PathBuf,
    /// Its content.
    pub bytes: Bytes,
}

impl PluginFile {
    /// Reads a file. The plugin is named after it.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn read(file: &Path) -> Result<Self> {
        let bytes = std::fs::read(file).with_context(|| format!("reading {}", file.display()))?;
        let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self { name, path: file.to_owned(), bytes: bytes.into() })
    }
}
