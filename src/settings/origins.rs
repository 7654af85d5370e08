//! Where settings come from that are not in the file, and what to warn of.

use std::collections::BTreeMap;

/// See the module's documentation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origins {
    /// The variable that set a key, such as `amqp.url`, by that key. Of several, the last one
    /// won.
    pub variables: BTreeMap<String, String>,
    /// What contradicts itself but is understood.
    pub warnings: Vec<String>,
    /// Variables of the section `[mo]` that cannot be read, and what is wrong with them. Other
    /// programs use them, too, and perhaps only they do.
    pub unread: Vec<String>,
}

impl Origins {
    pub(super) fn note(&mut self, key: &str, variable: &str) {
        self.variables.insert(key.to_owned(), variable.to_owned());
    }
}
