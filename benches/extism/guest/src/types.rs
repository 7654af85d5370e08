//! The event and the answer of `wit/router.wit`, as Extism's plugins would have
//! them: in JSON.

use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
pub struct Event<'a> {
    pub exchange: &'a str,
    pub routing_key: &'a str,
    pub topic: Topic<'a>,
    pub uuid: &'a str,
    pub object_uuid: Option<&'a str>,
    pub time: Option<(i64, u32)>,
    #[serde(borrow)]
    pub body: std::borrow::Cow<'a, str>,
    pub content_type: Option<&'a str>,
    pub headers: Vec<(&'a str, &'a str)>,
    pub redelivered: bool,
    pub attempt: u32,
}

#[derive(Serialize, Deserialize)]
pub struct Topic<'a> {
    pub service: Option<&'a str>,
    pub object_type: &'a str,
    pub action: Option<&'a str>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Publication {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exchange: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub routing_key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<(String, String)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub due: Option<(i64, u32)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}
