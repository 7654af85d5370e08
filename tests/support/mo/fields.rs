//! The fields of MO's GraphQL that have to do with events.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value as Json, json};
use uuid::Uuid;

use super::graphql::Caller;
use super::world::{MO, PRIORITY, Row, World};

/// The fields of a query. `employees` and `version` are there for tests.
pub const QUERIES: &[&str] =
    &["event_fetch", "events", "event_listeners", "event_namespaces", "employees", "version"];
/// The fields of a mutation. `employee_refresh` has MO send an event again.
pub const MUTATIONS: &[&str] = &[
    "event_namespace_declare",
    "event_namespace_delete",
    "event_listener_declare",
    "event_listener_delete",
    "event_acknowledge",
    "event_send",
    "event_silence",
    "event_unsilence",
    "event_rerun",
    "employee_refresh",
];

/// The role that a field asks for.
fn role(field: &str) -> Option<&'static str> {
    Some(match field {
        "event_fetch" => "fetch_event",
        "event_acknowledge" => "acknowledge_event",
        "event_listener_declare" => "create_event_listener",
        "event_listener_delete" => "delete_event_listener",
        "event_listeners" => "read_event_listener",
        "event_send" => "send_event",
        "event_namespace_declare" => "create_event_namespace",
        _ => return None,
    })
}

/// What a field gives.
#[derive(Clone, Debug)]
pub enum Node {
    Json(Json),
    List(Vec<Node>),
    Fetched { subject: String, priority: i64, token: String },
    Event { listener: Uuid, subject: String, row: Row },
    Listener(Uuid),
    Namespace(String),
    Page { objects: Vec<Node>, next: Option<String> },
    PageInfo(Option<String>),
    Version,
}

impl Node {
    /// Its type, as MO calls it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Json(_) | Self::List(_) => "Scalar",
            Self::Fetched { .. } => "Event",
            Self::Event { .. } => "FullEvent",
            Self::Listener(_) => "Listener",
            Self::Namespace(_) => "Namespace",
            Self::Page { .. } => "Paged",
            Self::PageInfo(_) => "PageInfo",
            Self::Version => "Version",
        }
    }
}

/// Where a page begins.
pub fn read_cursor(text: &str) -> Option<usize> {
    String::from_utf8(BASE64_STANDARD.decode(text).ok()?).ok()?.parse().ok()
}

/// Runs a field at the root.
pub fn run(
    world: &mut World,
    field: &str,
    arguments: &Json,
    caller: &Caller,
    now: Duration,
) -> Result<Node, String> {
    let who = caller.identity;
    if let (Some(role), Some(roles)) = (role(field), &caller.roles)
        && !roles.iter().any(|other| other == role)
    {
        return Err("No policy approved the access".into());
    }
    let (input, filter) = (&arguments["input"], &arguments["filter"]);
    let text = |value: &Json| value.as_str().unwrap_or_default().to_owned();
    let uuid = |value: &Json| value.as_str().and_then(|text| text.parse().ok()).unwrap_or_default();
    let done = |done: Result<(), String>| done.map(|()| Node::Json(json!(true)));
    match field {
        "event_fetch" => Ok(match world.fetch(uuid(&filter["listener"]), who, now) {
            Some(fetched) => Node::Fetched {
                subject: fetched.subject,
                priority: fetched.priority,
                token: fetched.token,
            },
            None => Node::Json(Json::Null),
        }),
        "event_acknowledge" => {
            world.acknowledge(&text(&input["token"]));
            Ok(Node::Json(json!(true)))
        }
        "event_namespace_declare" => {
            let name = text(&input["name"]);
            let public = input["public"].as_bool().unwrap_or_default();
            world.declare_namespace(&name, public, who)?;
            Ok(Node::Namespace(name))
        }
        "event_namespace_delete" => done(world.delete_namespace(&text(&input["name"]), who)),
        "event_listener_declare" => {
            let namespace = input["namespace"].as_str().unwrap_or(MO);
            let (user_key, key) = (text(&input["user_key"]), text(&input["routing_key"]));
            world.declare_listener(namespace, &user_key, &key, who).map(Node::Listener)
        }
        "event_listener_delete" => {
            let with_events = input["delete_pending_events"].as_bool().unwrap_or_default();
            done(world.delete_listener(uuid(&input["uuid"]), with_events))
        }
        "event_send" => {
            let (namespace, key) = (text(&input["namespace"]), text(&input["routing_key"]));
            let priority = input["priority"].as_i64().unwrap_or(PRIORITY);
            done(world.send(&namespace, &key, &text(&input["subject"]), priority, who))
        }
        "employee_refresh" => {
            let uuids = filter["uuids"].as_array().cloned().unwrap_or_default();
            for uuid in uuids.iter().filter_map(Json::as_str) {
                world.emit(MO, "person", uuid, PRIORITY);
            }
            Ok(Node::Page { objects: uuids.into_iter().map(Node::Json).collect(), next: None })
        }
        "event_silence" | "event_unsilence" | "event_rerun" => Ok(change(world, field, input)),
        "employees" => Ok(Node::Page { objects: Vec::new(), next: None }),
        "version" => Ok(Node::Version),
        _ => Ok(list(world, field, arguments)),
    }
}

fn change(world: &mut World, field: &str, input: &Json) -> Node {
    let listeners = listeners_of(world, &input["listeners"]);
    let wanted = |listener: Uuid, subject: &str, row: &Row| {
        listeners.contains(&listener) && is_wanted(input, subject, row)
    };
    let changed = world.change(wanted, |row| match field {
        "event_silence" => row.silenced = true,
        "event_unsilence" => {
            row.silenced = false;
            row.rerun();
        }
        _ => row.rerun(),
    });
    match field {
        "event_rerun" => {
            let events = changed.into_iter().map(|(subject, row)| Node::Event {
                listener: Uuid::nil(),
                subject,
                row,
            });
            Node::List(events.collect())
        }
        _ => Node::Json(json!(true)),
    }
}

fn list(world: &World, field: &str, arguments: &Json) -> Node {
    let filter = &arguments["filter"];
    let all: Vec<Node> = match field {
        "events" => {
            let listeners = listeners_of(world, &filter["listeners"]);
            let rows = listeners.into_iter().flat_map(|listener| events_of(world, listener));
            rows.filter(|node| match node {
                Node::Event { subject, row, .. } => is_wanted(filter, subject, row),
                _ => true,
            })
            .collect()
        }
        "event_listeners" => listeners_of(world, filter).into_iter().map(Node::Listener).collect(),
        _ => {
            let names = world.namespaces.keys().filter(|name| has(&filter["names"], name));
            names.cloned().map(Node::Namespace).collect()
        }
    };
    let from = arguments["cursor"].as_str().and_then(read_cursor).unwrap_or_default();
    let limit = arguments["limit"].as_u64().map_or(usize::MAX, |limit| limit as usize);
    let to = from.saturating_add(limit);
    let next = (to < all.len()).then(|| BASE64_STANDARD.encode(to.to_string()));
    Node::Page { objects: all.into_iter().skip(from).take(limit).collect(), next }
}

/// The value of a field of an object; none if it has no such field.
pub fn field(world: &World, object: &Node, name: &str) -> Option<Node> {
    let json = |value: Json| Some(Node::Json(value));
    match object {
        Node::Fetched { subject, priority, token } => match name {
            "subject" => json(json!(subject)),
            "priority" => json(json!(priority)),
            "token" => json(json!(token)),
            _ => None,
        },
        Node::Event { listener, subject, row } => match name {
            "subject" => json(json!(subject)),
            "priority" => json(json!(row.priority)),
            "silenced" => json(json!(row.silenced)),
            "listener" => Some(Node::Listener(*listener)),
            _ => None,
        },
        Node::Listener(uuid) => {
            let listener = world.listeners.get(uuid)?;
            match name {
                "uuid" => json(json!(uuid)),
                "owner" => json(json!(listener.owner)),
                "user_key" => json(json!(listener.user_key)),
                "routing_key" => json(json!(listener.routing_key)),
                "namespace" => Some(Node::Namespace(listener.namespace.clone())),
                "events" => Some(Node::List(events_of(world, *uuid).collect())),
                _ => None,
            }
        }
        Node::Namespace(namespace) => {
            let there = world.namespaces.get(namespace);
            match name {
                "name" => json(json!(namespace)),
                "owner" => json(json!(there?.owner)),
                "public" => json(json!(there?.public)),
                "listeners" => {
                    let all = world.listeners.iter();
                    let own = all.filter(|(_, listener)| listener.namespace == *namespace);
                    Some(Node::List(own.map(|(uuid, _)| Node::Listener(*uuid)).collect()))
                }
                _ => None,
            }
        }
        Node::Page { objects, next } => match name {
            "objects" => Some(Node::List(objects.clone())),
            "page_info" => Some(Node::PageInfo(next.clone())),
            _ => None,
        },
        Node::PageInfo(next) => (name == "next_cursor").then(|| Node::Json(json!(next))),
        Node::Version => (name == "mo_version").then(|| Node::Json(json!("66.1.0"))),
        Node::Json(_) | Node::List(_) => None,
    }
}

fn events_of(world: &World, listener: Uuid) -> impl Iterator<Item = Node> {
    world.rows(listener).map(move |(subject, row)| Node::Event {
        listener,
        subject: subject.clone(),
        row: row.clone(),
    })
}

fn listeners_of(world: &World, filter: &Json) -> Vec<Uuid> {
    let wanted = world.listeners.iter().filter(|(uuid, listener)| {
        has(&filter["uuids"], &uuid.to_string())
            && has(&filter["user_keys"], &listener.user_key)
            && has(&filter["owners"], &listener.owner.to_string())
            && has(&filter["routing_keys"], &listener.routing_key)
            && has(&filter["namespaces"]["names"], &listener.namespace)
    });
    wanted.map(|(uuid, _)| *uuid).collect()
}

fn is_wanted(filter: &Json, subject: &str, row: &Row) -> bool {
    let priorities = filter["priorities"].as_array();
    has(&filter["subjects"], subject)
        && filter["silenced"].as_bool().is_none_or(|silenced| silenced == row.silenced)
        && priorities.is_none_or(|all| all.iter().any(|other| other == row.priority))
}

/// Whether a list has the text; nothing that is not there filters.
fn has(list: &Json, text: &str) -> bool {
    list.as_array().is_none_or(|list| list.iter().any(|other| other == text))
}
