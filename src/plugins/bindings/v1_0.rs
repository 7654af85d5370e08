//! `os2mo:router@1.0.0`: headers as text, and the content type of events alone.

use std::borrow::Cow;

use wasmtime::Store;

use self::os2mo::router::types as wit;
use super::common;
use crate::event::{Event, Failure, Publication as Routed, Value};
use crate::plugins::guest::GuestState;

wasmtime::component::bindgen!({
    inline: "
        package mo-router:host;
        world guest { export os2mo:router/filter@1.0.0; }
    ",
    path: "wit",
    ownership: Borrowing { duplicate_if_necessary: true },
    exports: { default: async },
});

pub(super) use self::wit::Publication;

conversions!();

pub(super) async fn route(
    guest: &Guest,
    store: &mut Store<GuestState>,
    event: &Event,
    attempt: u32,
) -> wasmtime::Result<Result<Vec<Routed>, Failure>> {
    let [uuid, object_uuid] = &mut [[0; 36]; 2];
    let texts = texts(event);
    let headers: Vec<(&str, &str)> =
        texts.iter().map(|(name, text)| (*name, text.as_ref())).collect();
    let message = &event.message;
    let event = wit::Event {
        exchange: &message.exchange,
        routing_key: &message.routing_key,
        topic: event.topic().into(),
        uuid: common::text(event.uuid, uuid),
        object_uuid: event.object_uuid.map(|id| common::text(id, object_uuid)),
        time: event.time.map(Into::into),
        body: &message.body,
        content_type: message.properties.content_type.as_deref(),
        headers: &headers,
        redelivered: message.deliveries > 0,
        attempt,
    };
    let answer = guest.os2mo_router_filter().call_route(store, event).await?;
    Ok(match answer {
        Ok(publications) => publications.into_iter().map(publication).collect(),
        Err(failure) => Err(failure.into()),
    })
}

/// The headers that have a text form.
fn texts(event: &Event) -> Vec<(&str, Cow<'_, str>)> {
    let headers = event.message.properties.headers.iter();
    headers.filter_map(|(name, value)| Some((name.as_str(), text(value)?))).collect()
}

fn text(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::Text(text) => Some(Cow::Borrowed(text.as_str())),
        value => value.as_text().map(Cow::Owned),
    }
}

fn publication(publication: Publication) -> Result<Routed, Failure> {
    let headers = publication.headers.into_iter();
    Ok(Routed {
        exchange: publication.exchange,
        routing_key: publication.routing_key,
        body: publication.body,
        headers: headers.map(|(name, text)| (name, Value::Text(text))).collect(),
        properties: None,
        due: due(publication.due)?,
        key: publication.key,
    })
}
