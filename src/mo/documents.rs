//! The GraphQL that is sent to MO, and how its answers are read.
//!
//! MO takes several fields of one kind in a request, each under an alias, and runs them in one
//! transaction: an error in one undoes all.

use std::collections::BTreeMap;
use std::fmt::Write;

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::{Value as Json, json};
use uuid::Uuid;

use super::event::Event;
use super::keys::NAMESPACE;

/// What a document does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// Asks Keycloak for a token.
    Token,
    /// Fetches events.
    Fetch,
    /// Acknowledges events.
    Acknowledge,
    /// Declares listeners.
    Declare,
    /// Deletes a listener.
    Delete,
    /// Lets events come again at once.
    Rerun,
    /// Sends an event.
    Send,
    /// Reads which listeners there are.
    Listeners,
}

impl Operation {
    /// As it is written in metrics and messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Fetch => "fetch",
            Self::Acknowledge => "acknowledge",
            Self::Declare => "declare",
            Self::Delete => "delete",
            Self::Rerun => "rerun",
            Self::Send => "send",
            Self::Listeners => "listeners",
        }
    }

    /// The role that MO asks for.
    pub const fn role(self) -> &'static str {
        match self {
            Self::Token => "none",
            Self::Fetch => "fetch_event",
            Self::Acknowledge => "acknowledge_event",
            Self::Declare => "create_event_listener",
            Self::Delete => "delete_event_listener",
            Self::Rerun => "the one for event_rerun",
            Self::Send => "send_event",
            Self::Listeners => "read_event_listener",
        }
    }
}

/// A GraphQL document with its variables.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// What it does.
    pub operation: Operation,
    /// The body of the request.
    pub body: Json,
}

/// A listener as MO describes it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Listener {
    /// Its identity, which a listener that is declared anew does not keep.
    pub uuid: Uuid,
    /// Whoever declared it. Only they can fetch.
    pub owner: Uuid,
    /// Its name; unique for the owner and the namespace.
    pub user_key: String,
    /// The events that it gets.
    pub routing_key: String,
}

/// A listener and how many events wait for it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Census {
    /// The listener.
    #[serde(flatten)]
    pub listener: Listener,
    /// Its namespace.
    pub namespace: Name,
    /// Its events, if they were asked for.
    #[serde(default)]
    pub events: Vec<Waiting>,
}

/// A namespace's name.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Name {
    /// The name.
    pub name: String,
}

/// An event that waits for a listener, or is leased.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Waiting {
    /// Whether MO offers it last.
    pub silenced: bool,
}

/// Fetches an event of each of the listeners, which may be named several times.
pub fn fetch(listeners: &[Uuid]) -> Document {
    let (names, variables) = numbered(listeners, "l");
    let mut fields = String::new();
    for (alias, listener) in listeners.iter().enumerate() {
        let name = &names[listener];
        let _ = write!(
            fields,
            " e{alias}: event_fetch(filter: {{listener: ${name}}}) {{subject priority token}}"
        );
    }
    let parameters = parameters(&variables, "UUID!");
    let query = format!("query Fetch({parameters}) {{{fields}}}");
    Document::new(Operation::Fetch, query, variables)
}

/// Acknowledges events.
pub fn acknowledge(tokens: &[&str]) -> Document {
    let (names, variables) = numbered(tokens, "t");
    let mut fields = String::new();
    for name in names.values() {
        let _ = write!(fields, " {name}: event_acknowledge(input: {{token: ${name}}})");
    }
    let parameters = parameters(&variables, "EventToken!");
    let query = format!("mutation Acknowledge({parameters}) {{{fields}}}");
    Document::new(Operation::Acknowledge, query, variables)
}

/// Declares a listener for each of the routing keys, with names that begin with `user_key`. One
/// that is there stays as it is.
pub fn declare(user_key: &str, routing_keys: &[&str]) -> Document {
    let inputs: Vec<Json> = routing_keys
        .iter()
        .map(|key| {
            json!({
                "namespace": NAMESPACE,
                "user_key": format!("{user_key}.{key}"),
                "routing_key": key,
            })
        })
        .collect();
    let mut fields = String::new();
    for alias in 0..inputs.len() {
        let _ = write!(
            fields,
            " l{alias}: event_listener_declare(input: $i{alias}) \
             {{uuid owner user_key routing_key}}"
        );
    }
    let variables: BTreeMap<String, Json> =
        inputs.into_iter().enumerate().map(|(at, input)| (format!("i{at}"), input)).collect();
    let parameters = parameters(&variables, "ListenerCreateInput!");
    let query = format!("mutation Declare({parameters}) {{{fields}}}");
    Document::new(Operation::Declare, query, variables)
}

/// Declares a listener in a namespace that does not exist. MO asks for the same role as for others
/// before it says so, and nothing comes of it.
pub fn declare_nowhere() -> Document {
    let query = "mutation Declare($input: ListenerCreateInput!) {event_listener_declare(input: \
                 $input) {uuid}}";
    let namespace = format!("mo-router-check-{}", Uuid::new_v4());
    let input = json!({ "namespace": namespace, "user_key": "check", "routing_key": "check" });
    Document::new(Operation::Declare, query.into(), json!({ "input": input }))
}

/// Deletes a listener with all its events.
pub fn delete(listener: Uuid) -> Document {
    let query = "mutation Delete($listener: UUID!) {event_listener_delete(input: \
                 {uuid: $listener, delete_pending_events: true})}";
    Document::new(Operation::Delete, query.into(), json!({ "listener": listener }))
}

/// Lets events of listeners come again at once: those of these subjects, or all.
pub fn rerun(listeners: &[Uuid], subjects: &[String]) -> Document {
    let query = "mutation Rerun($input: EventRerunInput!) {event_rerun(input: $input) {subject}}";
    let mut input = json!({ "listeners": { "uuids": listeners } });
    if !subjects.is_empty() {
        input["subjects"] = json!(subjects);
    }
    Document::new(Operation::Rerun, query.into(), json!({ "input": input }))
}

/// Sends an event.
pub fn send(namespace: &str, routing_key: &str, subject: &str, priority: i32) -> Document {
    let query = "mutation Send($input: EventSendInput!) {event_send(input: $input)}";
    let input = json!({
        "namespace": namespace,
        "routing_key": routing_key,
        "subject": subject,
        "priority": priority,
    });
    Document::new(Operation::Send, query.into(), json!({ "input": input }))
}

/// Reads a page of all listeners with their events.
pub fn listeners(cursor: Option<&str>) -> Document {
    let query = "query Listeners($cursor: Cursor) {event_listeners(limit: 100, cursor: $cursor) \
                 {objects {uuid owner user_key routing_key namespace {name} events {silenced}} \
                 page_info {next_cursor}}}";
    Document::new(Operation::Listeners, query.into(), json!({ "cursor": cursor }))
}

/// Reads the listeners of a name in MO's namespace, whoever they belong to, without their events.
pub fn listeners_named(user_key: &str) -> Document {
    let query = format!(
        "query Listeners($name: String!) {{event_listeners(filter: {{user_keys: [$name], \
         namespaces: {{names: [\"{NAMESPACE}\"]}}}}) {{objects {{uuid owner user_key routing_key \
         namespace {{name}}}} page_info {{next_cursor}}}}}}"
    );
    Document::new(Operation::Listeners, query, json!({ "name": user_key }))
}

/// The events that a [`fetch`] of so many gave.
///
/// # Errors
/// The answer is not one to a fetch.
pub fn fetched(data: &Json, count: usize) -> Result<Vec<Option<Event>>> {
    (0..count).map(|alias| read(&data[format!("e{alias}")], "event_fetch")).collect()
}

/// The listeners that a [`declare`] of so many gave.
///
/// # Errors
/// The answer is not one to a declaration.
pub fn declared(data: &Json, count: usize) -> Result<Vec<Listener>> {
    (0..count).map(|alias| read(&data[format!("l{alias}")], "event_listener_declare")).collect()
}

/// How many events a [`rerun`] concerned.
pub fn reran(data: &Json) -> usize {
    data["event_rerun"].as_array().map_or(0, Vec::len)
}

/// A page of [`listeners`] or [`listeners_named`], and where the next one begins.
///
/// # Errors
/// The answer is not one to that.
pub fn page(data: &Json) -> Result<(Vec<Census>, Option<String>)> {
    let page = &data["event_listeners"];
    Ok((
        read(&page["objects"], "event_listeners")?,
        read(&page["page_info"]["next_cursor"], "next_cursor")?,
    ))
}

fn read<T: serde::de::DeserializeOwned>(value: &Json, what: &str) -> Result<T> {
    T::deserialize(value).with_context(|| format!("MO's answer has no {what} that can be read"))
}

impl Document {
    fn new(operation: Operation, query: String, variables: impl Into<Variables>) -> Self {
        let Variables(variables) = variables.into();
        Self { operation, body: json!({ "query": query, "variables": variables }) }
    }
}

/// The variables of a document.
struct Variables(Json);

impl From<Json> for Variables {
    fn from(variables: Json) -> Self {
        Self(variables)
    }
}

impl<T: serde::Serialize> From<BTreeMap<String, T>> for Variables {
    fn from(variables: BTreeMap<String, T>) -> Self {
        Self(json!(variables))
    }
}

/// A name for each different value, and the values by their names.
fn numbered<T: Ord + Copy>(
    values: &[T],
    prefix: &str,
) -> (BTreeMap<T, String>, BTreeMap<String, T>) {
    let mut names = BTreeMap::new();
    for value in values {
        let number = names.len();
        names.entry(*value).or_insert_with(|| format!("{prefix}{number}"));
    }
    let variables = names.iter().map(|(value, name)| (name.clone(), *value)).collect();
    (names, variables)
}

fn parameters<T>(variables: &BTreeMap<String, T>, kind: &str) -> String {
    let parameters: Vec<String> = variables.keys().map(|name| format!("${name}: {kind}")).collect();
    parameters.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_has_an_alias_for_each_event() {
        let (one, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let document = fetch(&[one, other, one]);
        let query = document.body["query"].as_str().unwrap();
        assert_eq!(query.matches("event_fetch").count(), 3);
        assert!(query.starts_with("query Fetch($l0: UUID!, $l1: UUID!) { e0: event_fetch"));
        assert_eq!(document.body["variables"], json!({ "l0": one, "l1": other }));
        let event = json!({ "subject": "s", "priority": 1, "token": "t" });
        let answer = json!({ "e0": event, "e1": null, "e2": event });
        let events = fetched(&answer, 3).unwrap();
        assert_eq!(events.iter().flatten().count(), 2);
        assert!(fetched(&json!({ "e0": 1 }), 1).is_err());
    }
}
