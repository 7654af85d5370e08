//! Deliveries as the router's own messages.

use bytes::Bytes;
use lapin::message::Delivery;

use super::original;
use super::properties::from_amqp;
use super::wire::stand_in;
use crate::event::Incoming;

/// The message that was delivered, with all that is known of it if it cannot be read.
pub fn incoming(delivery: Delivery) -> Incoming {
    let Delivery { exchange, routing_key, redelivered, properties, data, .. } = delivery;
    let mut message = Incoming {
        exchange: exchange.into(),
        routing_key: routing_key.into(),
        properties: from_amqp(&properties).into(),
        body: Bytes::from(data),
        deliveries: redelivered.into(),
    };
    stand_in::resolve(&mut message.properties, &mut message.body);
    if let Some(mut unreadable) = message.properties.unreadable.take() {
        if unreadable.exchange.is_empty() && unreadable.routing_key.is_empty() {
            unreadable.exchange = message.exchange.clone().into();
            unreadable.routing_key = message.routing_key.clone().into();
        }
        // The stand-in has them without the headers if they fit no frame.
        if let Some(readable) = unreadable.properties.as_deref().and_then(original::readable) {
            *message.properties = readable;
        }
        message.properties.unreadable = Some(unreadable);
    }
    message
}
