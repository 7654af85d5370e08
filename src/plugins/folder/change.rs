//! What can happen to a plugin's file.

use std::path::PathBuf;

use crate::plugins::FoundFile;

/// A change of one plugin's file.
#[derive(Clone, Debug)]
pub enum Change {
    /// The file is there and complete, and its content is new.
    Present(FoundFile),
    /// The file is there, but cannot be loaded as it is.
    Unusable {
        /// The plugin's name.
        name: String,
        /// The file.
        path: PathBuf,
        /// What is wrong with the file, and how to fix it.
        reason: String,
    },
    /// The file is gone.
    Gone {
        /// The plugin's name.
        name: String,
    },
}

impl Change {
    /// The same without the content of the file, which has to be read again.
    #[must_use]
    pub fn without_content(self) -> Self {
        match self {
            Self::Present(file) => Self::Present(file.without_content()),
            other => other,
        }
    }

    /// The plugin's name.
    pub fn name(&self) -> &str {
        match self {
            Self::Present(file) => &file.name,
            Self::Unusable { name, .. } | Self::Gone { name } => name,
        }
    }
}
