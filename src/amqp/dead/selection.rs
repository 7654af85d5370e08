//! Which dead letters a command applies to.

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
    /// Those of exactly this plugin and this reason: a group.
    pub group: Option<(String, String)>,
    /// Of that group also those whose reasons are alike: they differ in UUIDs and long numbers alone.
    pub alike: bool,
    /// Those that are dead letters since this time or later.
    pub since: Option<Datetime>,
    /// Those that are dead letters since before this time.
    pub until: Option<Datetime>,
}

impl Selection {
    /// Whether it leaves out none.
    pub fn is_all(&self) -> bool {
        let Self { ids, plugin, reason, group, alike: _, since, until } = self;
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
            && (self.group.as_ref()).is_none_or(|(plugin, reason)| {
                *plugin == letter.plugin
                    && (*reason == letter.reason
                        || (self.alike && shape(reason) == shape(&letter.reason)))
            })
            && was(self.since, &|since, from| since >= from)
            && was(self.until, &|since, until| since < until)
    }
}
