//! A plugin's answer to an event.

use std::time::Duration;

use super::{Datetime, Properties, Value};

/// One message that a plugin asks to be published; what is unset is the event's.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Publication {
    /// None: the configured output exchange.
    pub exchange: Option<String>,
    /// None: the event's.
    pub routing_key: Option<String>,
    /// None: the event's bytes.
    pub body: Option<Vec<u8>>,
    /// Headers to set beside the event's own.
    pub headers: Vec<(String, Value)>,
    /// The properties that the plugin sets; none if it sets no single one.
    pub properties: Option<Box<OwnProperties>>,
    /// When it leaves.
    pub due: Due,
    /// Of a delayed one: a newer one with the same key replaces it.
    pub key: Option<String>,
}

/// Properties that a plugin sets. What is unset is the event's, and an empty text leaves the
/// property out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnProperties {
    /// MIME type of the body.
    pub content_type: Option<String>,
    /// MIME encoding of the body.
    pub content_encoding: Option<String>,
    /// 0 to 9.
    pub priority: Option<u8>,
    /// Of a reply: the request's id.
    pub correlation_id: Option<String>,
    /// Where to reply.
    pub reply_to: Option<String>,
    /// Time to live in a queue, in milliseconds, as text.
    pub expiration: Option<String>,
    /// Seconds since the Unix epoch.
    pub timestamp: Option<u64>,
    /// The message's type.
    pub kind: Option<String>,
    /// The publishing application.
    pub app_id: Option<String>,
}

impl OwnProperties {
    /// Those that are text, with the names that plugins have for them.
    pub fn texts(&self) -> [(&'static str, Option<&str>); 7] {
        [
            ("content-type", &self.content_type),
            ("content-encoding", &self.content_encoding),
            ("correlation-id", &self.correlation_id),
            ("reply-to", &self.reply_to),
            ("expiration", &self.expiration),
            ("type", &self.kind),
            ("app-id", &self.app_id),
        ]
        .map(|(name, text)| (name, text.as_deref()))
    }

    /// Sets them in place of the event's.
    pub fn set_in(self, properties: &mut Properties) {
        for (own, text) in [
            (self.content_type, &mut properties.content_type),
            (self.content_encoding, &mut properties.content_encoding),
            (self.correlation_id, &mut properties.correlation_id),
            (self.reply_to, &mut properties.reply_to),
            (self.expiration, &mut properties.expiration),
            (self.kind, &mut properties.kind),
            (self.app_id, &mut properties.app_id),
        ] {
            if let Some(own) = own {
                *text = Some(own).filter(|own| !own.is_empty());
            }
        }
        properties.priority = self.priority.or(properties.priority);
        properties.timestamp = self.timestamp.or(properties.timestamp);
    }
}

/// When a publication leaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Due {
    /// At once.
    #[default]
    Now,
    /// At this time; at once if it has passed.
    At(Datetime),
    /// So long after the plugin said so.
    After(Duration),
}

/// Why a plugin did not route an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It may work later: the plugin said so.
    Retry(String),
    /// It never will: the plugin said so.
    Reject(String),
    /// The plugin broke: a trap, or a limit exceeded. Its instance is gone; a new
    /// one may do better.
    Broken(String, Fault),
}

/// How a plugin broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It trapped, or returned what cannot be.
    Trap,
    /// It recursed deeper than its stack.
    Stack,
    /// It took longer than its time limit.
    Timeout,
    /// It asked for more memory than its limit.
    Memory,
}

impl Failure {
    /// What happened, in words.
    pub fn reason(&self) -> &str {
        match self {
            Failure::Retry(reason) | Failure::Reject(reason) | Failure::Broken(reason, _) => reason,
        }
    }
}
