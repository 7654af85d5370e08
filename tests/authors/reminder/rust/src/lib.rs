//! Reminds of changes of engagements on the day before they take effect.

mod router;
mod schedule;

use router::{Datetime, Due, Event, Failure, Level, Publication, log, setting};
use serde_json::json;

/// What MO sends for "no date".
const NO_DATE: i64 = 253_402_300_799;

fn subscriptions() -> Vec<String> {
    vec!["employee.engagement.*".to_owned()]
}

fn route(event: Event) -> Result<Vec<Publication>, Failure> {
    let hour = setting("hour", "8");
    let hour = hour.parse().ok().filter(|hour| *hour < 24).ok_or_else(|| {
        Failure::Reject(format!("config.hour is {hour}: an hour from 0 to 23 is needed"))
    })?;
    let effective = event.time.map(|time| time.seconds).filter(|seconds| *seconds < NO_DATE);
    let Some((day, at)) = effective.and_then(|seconds| schedule::of(seconds, hour)) else {
        log(Level::Debug, "route", &format!("{} has no date", event.routing_key));
        return Ok(Vec::new());
    };
    let body = json!({
        "effective": day.to_string(),
        "message": setting("message", "A change takes effect tomorrow"),
        "uuid": event.uuid,
    });
    let changed = event.object_uuid.as_ref().unwrap_or(&event.uuid);
    Ok(vec![Publication {
        routing_key: Some(format!("reminder.{}", event.routing_key)),
        body: Some(body.to_string().into_bytes()),
        due: Due::At(Datetime { seconds: at, nanoseconds: 0 }),
        key: Some(format!("{} {changed} {day}", event.routing_key)),
        ..Publication::default()
    }])
}

#[cfg(test)]
mod tests {
    use super::router::{Topic, host};
    use super::*;

    fn reminders(time: Option<i64>) -> Result<Vec<Publication>, Failure> {
        route(Event {
            routing_key: "employee.engagement.create".to_owned(),
            topic: Topic {
                service: Some("employee".to_owned()),
                object_type: "engagement".to_owned(),
                action: Some("create".to_owned()),
            },
            uuid: "person".to_owned(),
            time: time.map(|seconds| Datetime { seconds, nanoseconds: 0 }),
            ..Event::default()
        })
    }

    #[test]
    fn a_change_is_announced() {
        host::set("message", "tomorrow");
        let reminder = reminders(Some(1_711_922_400)).unwrap().remove(0);
        let body = r#"{"effective":"2024-04-01","message":"tomorrow","uuid":"person"}"#;
        assert_eq!(reminder.body.as_deref(), Some(body.as_bytes()));
        assert!(matches!(reminder.due, Due::At(Datetime { seconds: 1_711_864_800, .. })));
    }

    #[test]
    fn what_has_no_date_is_not() {
        assert_eq!(reminders(Some(NO_DATE)).unwrap().len(), 0);
        assert_eq!(host::logged().len(), 1);
    }

    #[test]
    fn an_hour_is_needed() {
        host::set("hour", "24");
        assert!(matches!(reminders(None), Err(Failure::Reject(_))));
    }
}
