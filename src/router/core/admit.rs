//! From a delivery to an event: what is parsed, what is dead on arrival, and what the
//! plugin did not ask for.

use chrono_tz::Tz;

use super::answer;
use super::terms::Terms;
use crate::event::{Event, Incoming, Rejected};
use crate::settings::Settings;

/// What holds for every delivery, whichever version of the plugin runs.
#[derive(Clone, Copy, Debug)]
pub struct Intake {
    /// Where times without an offset are local.
    pub naive_zone: Tz,
    /// How many times a message may pass a router.
    pub max_hops: u32,
}

impl Intake {
    /// As the settings say.
    pub fn of(settings: &Settings) -> Self {
        Self { naive_zone: settings.events.naive_time_zone, max_hops: settings.amqp.max_hops }
    }
}

/// What a delivery is.
#[derive(Debug)]
pub enum Admission {
    /// An event for the plugin.
    Event(Event),
    /// Nothing that a plugin could be given: a dead letter.
    Dead(Rejected),
    /// Left over from a binding that an older version asked for.
    NotSubscribed(Incoming),
}

/// Reads a delivery.
pub fn admit(message: Incoming, terms: &Terms, intake: Intake) -> Admission {
    if !terms.subscribes_to(&message.routing_key) {
        return Admission::NotSubscribed(message);
    }
    let hops = answer::hops(&message);
    if hops > i64::from(intake.max_hops) {
        let reason = format!(
            "the message has passed the router {hops} times, more than [amqp] max_hops ({}): \
             publications seem to come back as events",
            intake.max_hops
        );
        return Admission::Dead(Rejected { message: message.into(), reason });
    }
    match Event::parse(message, intake.naive_zone) {
        Ok(event) => Admission::Event(event),
        Err(rejected) => Admission::Dead(rejected),
    }
}
