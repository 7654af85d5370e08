//! Names of plugins, which become part of the names of queues and settings.

use std::path::Path;

use anyhow::{Result, bail};

/// The longest name of a plugin, in characters: it is part of a queue's name and of many log lines.
pub const LONGEST_NAME: usize = 64;

/// The plugin whose queue would be the queue of dead letters. With another queue prefix
/// it would not be, but whether a name is valid should not depend on that.
const RESERVED: &str = "dead";

/// Whether a file is a plugin's, judging by its name.
pub fn is_plugin_file(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "wasm" || extension == "wat")
}

/// Checks that a plugin can have this name.
///
/// # Errors
/// Says why not, and what to do.
pub fn check_name(name: &str) -> Result<()> {
    if name == RESERVED {
        bail!(
            "{name:?} cannot be a plugin's name, because mo-router.{name} is the queue of the dead \
             letters: rename the file"
        );
    }
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if name.chars().all(fits) && (1..=LONGEST_NAME).contains(&name.len()) {
        return Ok(());
    }
    bail!(
        "{name:?} cannot be a plugin's name: use 1 to {LONGEST_NAME} letters, digits, hyphens and \
         underscores, and rename the file"
    )
}
