//! Which dead letters a command applies to.

use serde::Deserialize;

use super::alike::shape;
use crate::amqp::letter::Letter;
use crate::event::Datetime;

/// Which dead letters a command applies to: those that match everything given here.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Those whose id begins with one of these; any if empty.
    pub ids: Vec<String>,
    /// Those of this plugin.
    pub plugin: Option<String>,
    /// Those whose reason contains this.
    pub reason: Option<String>,
    /// Those of one group.
    pub group: Option<OfReason>,
    /// Those that are dead letters since this time or later.
    pub since: Option<Datetime>,
    /// Those that are dead letters since before this time.
    pub until: Option<Datetime>,
}

/// The dead letters of exactly this plugin and this reason.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OfReason {
    /// The plugin's name.
    pub plugin: String,
    /// The whole reason.
    pub reason: String,
    /// Also those whose reasons are alike: they differ only in UUIDs and long numbers.
    #[serde(default)]
    pub alike: bool,
}

impl OfReason {
    fn matches(&self, letter: &Letter) -> bool {
        let Self { plugin, reason, alike } = self;
        *plugin == letter.plugin
            && (*reason == letter.reason || (*alike && shape(reason) == shape(&letter.reason)))
    }
}

impl Selection {
    /// Whether it leaves out none.
    pub fn is_all(&self) -> bool {
        let Self { ids, plugin, reason, group, since, until } = self;
        let is_any = plugin.is_none() && reason.is_none() && group.is_none();
        ids.is_empty() && is_any && since.is_none() && until.is_none()
    }

    pub(super) fn matches(&self, letter: &Letter) -> bool {
        let is = |wanted: &Option<String>, test: &dyn Fn(&str) -> bool| {
            wanted.as_deref().is_none_or(test)
        };
        let was = |wanted: Option<Datetime>, test: &dyn Fn(Datetime, Datetime) -> bool| {
            wanted.is_none_or(|wanted| letter.since.is_some_and(|since| test(since, wanted)))
        };
        (self.ids.is_empty() || self.ids.iter().any(|id| letter.id.starts_with(id.as_str())))
            && is(&self.plugin, &|plugin| plugin == letter.plugin)
            && is(&self.reason, &|reason| letter.reason.contains(reason))
            && self.group.as_ref().is_none_or(|group| group.matches(letter))
            && was(self.since, &|since, from| since >= from)
            && was(self.until, &|since, until| since < until)
    }
}
