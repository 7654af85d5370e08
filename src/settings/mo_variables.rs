//! MO's own variables: those of today, and those of MO 1.0, which stay supported.

use anyhow::{Result, anyhow};

use super::broker::BrokerUrls;
use super::schema::{Mo, Settings};
use super::value::SettingValue;

/// Reads MO's variables, and notes what came of each.
struct Reader<'a> {
    variables: &'a [(String, String)],
    warnings: Vec<String>,
    unread: Vec<String>,
    set: Vec<(&'static str, &'static str)>,
}

/// Applies MO's own variables. Empty ones count as not set. Of two that say the same, the
/// newer name wins; that they contradict each other is a warning of the settings.
///
/// # Errors
/// Names the variable, what is wrong with it and how to fix it.
pub(super) fn apply(variables: &[(String, String)], settings: &mut Settings) -> Result<()> {
    let mut reader =
        Reader { variables, warnings: Vec::new(), unread: Vec::new(), set: Vec::new() };
    if let Some(enabled) = reader.newest("amqp.enabled", &["AMQP_ENABLE", "ENABLE_AMQP"])? {
        settings.amqp.enabled = enabled;
    }
    if let Some(exchange) =
        reader.newest("amqp.exchange", &["AMQP__EXCHANGE", "AMQP_OS2MO_EXCHANGE"])?
    {
        settings.amqp.exchange = exchange;
    }
    let url = reader.newest("amqp.url", &["AMQP__URL", "AMQP_URL"])?;
    reader.apply_url(url, &mut settings.amqp.url)?;
    reader.apply_graphql(&mut settings.mo);
    settings.origins.warnings.extend(reader.warnings);
    settings.origins.unread.extend(reader.unread);
    for (variable, key) in reader.set {
        settings.origins.note(key, variable);
    }
    Ok(())
}

impl<'a> Reader<'a> {
    fn text(&self, name: &str) -> Option<&'a str> {
        let (_, text) = self.variables.iter().find(|(variable, _)| variable == name)?;
        (!text.is_empty()).then_some(text.as_str())
    }

    fn value<T: SettingValue>(&self, name: &str) -> Result<Option<T>> {
        let parsed = self.text(name).map(T::parse).transpose();
        parsed.map_err(|wrong| anyhow!("{name}: {wrong}"))
    }

    /// The value of the first of these variables that is set: the names are in the order of
    /// their age, newest first.
    fn newest<T: SettingValue + PartialEq>(
        &mut self,
        key: &'static str,
        names: &[&'static str],
    ) -> Result<Option<T>> {
        let mut chosen: Option<(&'static str, T)> = None;
        for name in names {
            let Some(value) = self.value(name)? else { continue };
            match &chosen {
                None => chosen = Some((name, value)),
                Some((newer, first)) if *first != value => self.contradiction(newer, name),
                Some(_) => {}
            }
        }
        Ok(chosen.map(|(name, value)| {
            self.set.push((name, key));
            value
        }))
    }

    /// A URL, if one is set; otherwise the host and the port within the one that holds.
    fn apply_url(&mut self, url: Option<BrokerUrls>, current: &mut BrokerUrls) -> Result<()> {
        let (host, port) = (self.text("AMQP_HOST"), self.value("AMQP_PORT")?);
        let is_set = host.is_some() || port.is_some();
        let base = url.as_ref().unwrap_or(current);
        let addressed =
            base.with_address(host, port).map_err(|wrong| anyhow!("AMQP_HOST: {wrong}"))?;
        let Some(url) = url else {
            let set = [("AMQP_HOST", host.is_some()), ("AMQP_PORT", port.is_some())];
            self.set.extend(
                set.iter().filter(|(_, is_set)| *is_set).map(|(name, _)| (*name, "amqp.url")),
            );
            *current = addressed;
            return Ok(());
        };
        if is_set && addressed != url {
            let (name, _) = self.set.last().copied().unwrap_or(("AMQP_URL", ""));
            self.contradiction(name, "AMQP_HOST or AMQP_PORT");
        }
        *current = url;
        Ok(())
    }

    /// What MO's integrations call the settings of their access to GraphQL.
    fn apply_graphql(&mut self, mo: &mut Mo) {
        self.take("mo.url", "MO_URL", |url| mo.url = url);
        self.take("mo.client_id", "CLIENT_ID", |id| mo.client_id = Some(id));
        self.take("mo.client_secret", "CLIENT_SECRET", |secret| mo.client_secret = Some(secret));
        self.take("mo.auth_server", "AUTH_SERVER", |server| mo.auth_server = server);
        self.take("mo.auth_realm", "AUTH_REALM", |realm| mo.auth_realm = realm);
    }

    /// Takes over a variable. That it cannot be read matters only if it is used.
    fn take<T: SettingValue + PartialEq>(
        &mut self,
        key: &'static str,
        name: &'static str,
        set: impl FnOnce(T),
    ) {
        match self.newest(key, &[name]) {
            Ok(Some(value)) => set(value),
            Ok(None) => {}
            Err(wrong) => self.unread.push(format!("{wrong:#}")),
        }
    }

    /// The values are not shown: a URL has a password.
    fn contradiction(&mut self, followed: &str, ignored: &str) {
        self.warnings.push(format!(
            "{followed} and {ignored} contradict each other: {followed} is followed, the newer of \
             MO's names for it; remove {ignored}"
        ));
    }
}
