//! `os2mo:router@1.1.0`: the properties of events and publications, and headers with their types.

mod nested;

use wasmtime::Store;

use self::os2mo::router::types as wit;
use super::common;
use crate::event::{Event, Failure, OwnProperties, Publication as Routed};
use crate::plugins::guest::GuestState;

wasmtime::component::bindgen!({
    inline: "
        package mo-router:host;
        world guest { export os2mo:router/filter@1.1.0; }
    ",
    path: "wit/1.1.0",
    ownership: Borrowing { duplicate_if_necessary: true },
    exports: { default: async },
});

pub(super) use self::wit::Publication;
use self::wit::{Decimal, ValueParam, ValueResult};

conversions!();

pub(super) async fn route(
    guest: &Guest,
    store: &mut Store<GuestState>,
    event: &Event,
    attempt: u32,
) -> wasmtime::Result<Result<Vec<Routed>, Failure>> {
    let [uuid, object_uuid] = &mut [[0; 36]; 2];
    let message = &event.message;
    let properties = &message.properties;
    let inner = nested::Inner::of(&properties.headers);
    let (headers, nested) = inner.lower(&properties.headers);
    let event = wit::Event {
        exchange: &message.exchange,
        routing_key: &message.routing_key,
        topic: event.topic().into(),
        uuid: common::text(event.uuid, uuid),
        object_uuid: event.object_uuid.map(|id| common::text(id, object_uuid)),
        time: event.time.map(Into::into),
        body: &message.body,
        content_type: properties.content_type.as_deref(),
        content_encoding: properties.content_encoding.as_deref(),
        headers: &headers,
        nested: &nested,
        priority: properties.priority,
        correlation_id: properties.correlation_id.as_deref(),
        reply_to: properties.reply_to.as_deref(),
        expiration: properties.expiration.as_deref(),
        message_id: properties.message_id.as_deref(),
        timestamp: properties.timestamp,
        type_: properties.kind.as_deref(),
        app_id: properties.app_id.as_deref(),
        redelivered: message.deliveries > 0,
        attempt,
    };
    let answer = guest.os2mo_router_filter().call_route(store, event).await?;
    Ok(match answer {
        Ok(publications) => publications.into_iter().map(publication).collect(),
        Err(failure) => Err(failure.into()),
    })
}

fn publication(publication: Publication) -> Result<Routed, Failure> {
    let headers = nested::lift(publication.headers, publication.nested).map_err(common::invalid)?;
    let own = OwnProperties {
        content_type: publication.content_type,
        content_encoding: publication.content_encoding,
        priority: publication.priority,
        correlation_id: publication.correlation_id,
        reply_to: publication.reply_to,
        expiration: publication.expiration,
        timestamp: publication.timestamp,
        kind: publication.type_,
        app_id: publication.app_id,
    };
    Ok(Routed {
        exchange: publication.exchange,
        routing_key: publication.routing_key,
        body: publication.body,
        headers,
        properties: (own != OwnProperties::default()).then(|| Box::new(own)),
        due: due(publication.due)?,
        key: publication.key,
    })
}
