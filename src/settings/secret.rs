//! Secrets, which no message shows.

use std::fmt;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::value::SettingValue;

/// How many characters a token has at the least.
const SHORTEST_TOKEN: usize = 16;

/// A secret. Only [`Secret::expose`] gives it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The secret itself. Not for messages.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// What a file holds now, without the end of its line.
///
/// # Errors
/// It cannot be read. `setting` says who names it.
pub fn read_secret(setting: &str, file: &Path) -> Result<Secret> {
    let read = std::fs::read_to_string(file);
    let text = read.with_context(|| format!("{setting} {:?}", file.display().to_string()))?;
    Ok(Secret(text.trim_end_matches(['\r', '\n']).to_owned()))
}

/// The token in the file of `[http] token_file`, which changes over HTTP take.
///
/// # Errors
/// It cannot be read, or has fewer than 16 characters.
pub fn read_token(file: &Path) -> Result<Secret> {
    let secret = read_secret("[http] token_file", file)?;
    let token = secret.expose().trim();
    ensure!(
        token.len() >= SHORTEST_TOKEN,
        "[http] token_file: the token in {} has fewer than {SHORTEST_TOKEN} characters: \
         `openssl rand -hex 32` makes one",
        file.display()
    );
    Ok(Secret(token.to_owned()))
}

impl From<String> for Secret {
    fn from(secret: String) -> Self {
        Self(secret)
    }
}

impl SettingValue for Secret {
    fn parse(text: &str) -> Result<Self, String> {
        Ok(Self(text.to_owned()))
    }

    fn to_text(&self) -> String {
        self.0.clone()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}
