//! Whether a store can be used, without changing it.

use std::fs::File;
use std::path::Path;

use anyhow::{Context, Result, bail};

use super::{postgres, sqlite};
use crate::settings::StoreUrl;

/// Whether a local store can be used: its file, or the folder that it would be made in. Returns
/// what people should know about it all the same. Nothing for a database, which [`reach`] is for.
///
/// # Errors
/// Says what cannot be written, or why the file is not a store of this version's.
pub fn look(store: &StoreUrl) -> Result<Vec<String>> {
    let StoreUrl::Sqlite(file) = store else { return Ok(Vec::new()) };
    let what = || format!("the delay store {} cannot be written", file.display());
    if file.exists() {
        let opened = File::options().read(true).write(true).open(file);
        opened.map(drop).with_context(what)?;
    }
    // Its journal is beside it.
    let folder = match file.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    if !folder.is_dir() {
        bail!("{}: there is no folder {}", what(), folder.display());
    }
    tempfile::tempfile_in(folder).map(drop).with_context(what)?;
    if file.exists() { sqlite::look(file) } else { Ok(Vec::new()) }
}

/// Connects to a database, and says what was found, and whether the connection is encrypted.
/// Nothing for a local store.
///
/// # Errors
/// It cannot be reached, or the user lacks a right, which is named.
pub async fn reach(store: &StoreUrl) -> Result<Option<String>> {
    match store {
        StoreUrl::Sqlite(_) => Ok(None),
        StoreUrl::Postgres(url) => postgres::probe(url).await.map(Some),
    }
}
