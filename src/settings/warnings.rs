//! Settings that are valid, and may yet surprise, or contradict each other.

use super::nearest::{did_you_mean, nearest};
use super::schema::{QueueType, Settings, canonical};
use super::url::StoreUrl;
use crate::event::topic;

impl Settings {
    /// What to warn of, in words for people.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = self.origins.warnings.clone();
        let mut warn = |is_so: bool, text: &str| {
            if is_so {
                warnings.push(text.to_owned());
            }
        };
        let amqp = &self.amqp;
        warn(
            amqp.enabled && amqp.queue_type == QueueType::Classic,
            "[amqp] queue_type = \"classic\": MO publishes transient messages, and classic \
             queues lose those in a restart of the broker; quorum queues keep them",
        );
        warn(
            amqp.password.is_some() && amqp.password_file.is_some(),
            "[amqp] password and password_file: the file is used",
        );
        let has_tls = amqp.url.expose().contains("amqps://") || amqp.url_file.is_some();
        let names_tls =
            amqp.ca_file.is_some() || amqp.cert_file.is_some() || amqp.server_name.is_some();
        warn(
            amqp.enabled && names_tls && !has_tls,
            "[amqp] ca_file, cert_file and server_name do nothing: the URL begins with amqp://, and \
             TLS is amqps://",
        );
        warn(
            amqp.enabled && amqp.exchange == amqp.output_exchange,
            "[amqp] exchange and output_exchange are the same: what a plugin publishes there can \
             come back as an event",
        );
        warn(
            self.delay.password_file.is_some() && matches!(self.delay.store, StoreUrl::Sqlite(_)),
            "[delay] password_file does nothing: a file of SQLite has no password",
        );
        warn(
            self.limits.timeout > self.daemon.stop_timeout,
            "[limits] timeout is longer than [daemon] stop_timeout: a call that takes its time is cut \
             off by a stop",
        );
        let own = self.plugin.iter().filter(|(_, plugin)| {
            plugin.limits.timeout > self.daemon.stop_timeout
                && plugin.limits.timeout != self.limits.timeout
        });
        warnings.extend(own.map(|(name, _)| {
            format!(
                "[plugin.{name}] limits.timeout is longer than [daemon] stop_timeout: a call that \
                 takes its time is cut off by a stop"
            )
        }));
        let unread = self.origins.unread.iter();
        warnings.extend(
            unread.map(|wrong| format!("{wrong}; it is ignored, since [mo] enabled is not true")),
        );
        let known = topic::ONE_WORD_KEYS;
        let fetched = self.mo.routing_keys.iter().filter(|_| self.mo.enabled);
        let unknown = fetched.filter(|key| !known.contains(&key.as_str()));
        warnings.extend(unknown.filter(|key| topic::key_mistake(key).is_none()).map(|key| {
            format!(
                "[mo] routing_keys: MO sends no events with the key {key:?}{}",
                did_you_mean(key, known)
            )
        }));
        warnings
    }

    /// What cannot be meant, in words for people.
    pub fn mistakes(&self) -> Vec<String> {
        let mut mistakes = Vec::new();
        let mut wrong = |is_so: bool, text: &str| {
            if is_so {
                mistakes.push(text.to_owned());
            }
        };
        wrong(
            self.amqp.key_file.is_some() && self.amqp.cert_file.is_none(),
            "[amqp] key_file is set without cert_file, the certificate that it is the key of",
        );
        // What is not used may be set for other programs, by MO's own variables.
        let mo = &self.mo;
        wrong(
            mo.enabled
                && mo.client_id.is_some()
                && mo.client_secret.is_none()
                && mo.client_secret_file.is_none(),
            "[mo] client_id is set without client_secret or client_secret_file",
        );
        wrong(
            mo.enabled
                && mo.client_id.is_none()
                && (mo.client_secret.is_some() || mo.client_secret_file.is_some()),
            "[mo] client_secret is set without client_id: the router would not log in",
        );
        wrong(
            self.plugins.keep_queue < self.plugins.keep_bindings,
            "[plugins] keep_queue is shorter than keep_bindings: the queue would be deleted with its \
             bindings",
        );
        wrong(
            self.limits.max_output > self.amqp.prefetch_bytes,
            "[limits] max_output is more than [amqp] prefetch_bytes: one answer would be more than \
             may be in flight",
        );
        if mo.enabled {
            let wrong = mo.routing_keys.iter().filter_map(|key| topic::key_mistake(key));
            mistakes.extend(wrong.map(|text| format!("[mo] routing_keys: {text}")));
        }
        for (name, plugin) in &self.plugin {
            let max_output = plugin.limits.max_output;
            if max_output > self.amqp.prefetch_bytes && max_output != self.limits.max_output {
                mistakes.push(format!(
                    "[plugin.{name}] limits.max_output is more than [amqp] prefetch_bytes: one answer \
                     would be more than may be in flight"
                ));
            }
            let patterns = plugin.subscriptions.iter().flatten();
            let wrong = patterns.filter_map(|pattern| topic::mistake(pattern));
            mistakes.extend(wrong.map(|text| format!("[plugin.{name}] subscriptions: {text}")));
        }
        mistakes
    }

    /// The plugins that have a section but none of these files, each with the file that is
    /// perhaps meant: the nearest that has no section.
    pub fn plugins_without_file<'a>(&self, files: &[&'a str]) -> Vec<(String, Option<&'a str>)> {
        let is_there = |name: &String| files.iter().any(|file| canonical(file) == *name);
        let free: Vec<&str> = files
            .iter()
            .copied()
            .filter(|file| !self.plugin.contains_key(&canonical(file)))
            .collect();
        let missing = self.plugin.keys().filter(|name| !is_there(name));
        missing.map(|name| (name.clone(), nearest(name, free.iter().copied()))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::tests::load;

    #[test]
    fn what_contradicts_itself_is_told() {
        for (file, said) in [
            ("amqp.key_file = '/k'", "cert_file"),
            ("mo = { enabled = true, client_id = 'x' }", "client_secret"),
            ("mo = { enabled = true, client_secret = 'x' }", "client_id"),
            ("mo = { enabled = true, routing_keys = ['*'] }", "\"*\" is a pattern"),
            ("mo = { enabled = true, routing_keys = [''] }", "empty"),
            ("plugins.keep_queue = '1min'", "keep_bindings"),
            ("plugin.a.subscriptions = ['a..b']", "a..b"),
            ("amqp.prefetch_bytes = 1000\nplugin.a.lanes = 1", "[limits] max_output"),
            ("amqp.prefetch_bytes = 1000", "[limits] max_output"),
            ("plugin.a.limits.max_output = 100000000", "[plugin.a] limits.max_output"),
        ] {
            let mistakes = load(file, &[]).unwrap().mistakes();
            assert!(mistakes.len() == 1 && mistakes[0].contains(said), "{file}: {mistakes:?}");
        }
        for (file, said) in [
            ("amqp = { enabled = true, ca_file = '/ca' }", "amqps://"),
            ("amqp = { enabled = true, output_exchange = 'os2mo_queue' }", "the same"),
            ("delay.password_file = '/p'", "SQLite"),
            ("limits.timeout = '1h'", "[limits] timeout"),
            ("limits.timeout = '1h'\nplugin.a.lanes = 1", "[limits] timeout"),
            ("plugin.a.limits.timeout = '1h'", "[plugin.a] limits.timeout"),
            ("mo = { enabled = true, routing_keys = ['engagemnt', 'kle'] }", "mean engagement?"),
            ("mo = { enabled = true, routing_keys = ['of_our_own'] }", "\"of_our_own\""),
        ] {
            let settings = load(file, &[]).unwrap();
            let warnings = settings.warnings();
            assert!(warnings.len() == 1 && warnings[0].contains(said), "{file}: {warnings:?}");
            assert!(settings.mistakes().is_empty(), "{file}");
        }
        assert!(
            Settings::default().mistakes().is_empty() && Settings::default().warnings().is_empty()
        );
        let unused = load("mo = { client_id = 'x', routing_keys = ['*'] }", &[]).unwrap();
        assert!(unused.mistakes().is_empty() && unused.warnings().is_empty());
    }

    #[test]
    fn a_section_that_no_file_fits_is_told_with_the_nearest() {
        let file = "[plugin]\nmo-dealy.lanes = 2\nRedact.lanes = 2\nzzz.lanes = 2";
        let settings = load(file, &[]).unwrap();
        let missing = settings.plugins_without_file(&["mo-delay", "redact"]);
        assert_eq!(missing, [("mo-dealy".to_owned(), Some("mo-delay")), ("zzz".to_owned(), None)]);
    }
}
