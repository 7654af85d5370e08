use super::*;

fn author() -> Author {
    Author {
        plugin: "p".into(),
        version: "v1".into(),
        granted: vec!["out".into(), "audit".into()],
        output_exchange: "out".into(),
    }
}

fn event() -> Event {
    let message = Incoming {
        exchange: "os2mo".into(),
        routing_key: "employee.it.create".into(),
        body: r#"{"uuid": "cf5c0a53-8a4e-4f2e-8a0e-1b2c3d4e5f60", "time": "2030-01-01T00:00:00Z"}"#
            .into(),
        ..Incoming::default()
    };
    Event::parse(message, chrono_tz::UTC).unwrap()
}

fn answer(publication: Publication) -> Result<Planned, String> {
    plan(&author(), event(), vec![publication], Datetime::from_unix(0, 0).unwrap())
        .map(|mut planned| planned.remove(0))
        .map_err(|rejected| rejected.reason)
}

#[test]
fn nothing_set_forwards_the_event() {
    let Planned::Now(message) = answer(Publication::default()).unwrap() else { panic!("delayed") };
    assert_eq!(
        (message.exchange.as_str(), message.routing_key.as_str()),
        ("out", "employee.it.create")
    );
    assert_eq!(message.body, event().message.body);
    assert_eq!(message.properties.headers[headers::HOPS], Value::Int8(1));
}

#[test]
fn ids_are_stable_and_differ_between_publications() {
    let twice = vec![Publication::default(), Publication::default()];
    let ids = || -> Vec<String> {
        let planned = plan(&author(), event(), twice.clone(), Datetime::now()).unwrap();
        planned
            .iter()
            .map(|planned| match planned {
                Planned::Now(message) => message.id().to_owned(),
                Planned::Later(delayed) => delayed.message.id().to_owned(),
            })
            .collect()
    };
    assert_eq!(ids(), ids());
    assert_ne!(ids()[0], ids()[1]);
}

#[test]
fn an_event_s_own_id_is_in_a_header_since_two_plugins_may_publish_it() {
    let mut event = event();
    event.message.properties.message_id = Some("7".into());
    let by = |plugin: &str| {
        let author = Author { plugin: plugin.into(), ..author() };
        let answer = vec![Publication::default()];
        let planned = plan(&author, event.clone(), answer, Datetime::now()).unwrap();
        planned[0].message().clone()
    };
    let (one, other) = (by("one"), by("other"));
    assert_eq!(one.properties.headers[headers::EVENT_ID], "7".into());
    assert!(one.id() != "7" && one.id() != other.id());
    assert_eq!(one.id(), by("one").id(), "a repeat has the same");
}

#[test]
fn where_an_event_was_sent_besides_is_not_obeyed_again() {
    let mut event = event();
    let copies = Value::List(vec!["elsewhere".into()]);
    event.message.properties.headers =
        [("CC", copies), ("own", "kept".into())].map(|(name, value)| (name.into(), value)).into();
    let planned = plan(&author(), event, vec![Publication::default()], Datetime::now()).unwrap();
    let headers = &planned[0].message().properties.headers;
    assert!(!headers.contains_key("CC") && headers.contains_key("own"));
}

#[test]
fn a_time_that_has_passed_is_now() {
    let past =
        Publication { due: Due::At(Datetime::from_unix(-1, 0).unwrap()), ..Publication::default() };
    assert!(matches!(answer(past), Ok(Planned::Now(_))));
    let no_date = Publication { due: Due::At(Datetime::NO_DATE), ..Publication::default() };
    assert!(matches!(answer(no_date), Ok(Planned::Now(_))));
    let far = Datetime::from_unix(253_402_000_000, 0).unwrap();
    let ahead = Publication { due: Due::At(far), ..Publication::default() };
    let Ok(Planned::Later(delayed)) = answer(ahead) else { panic!("not delayed") };
    assert_eq!(delayed.due, far);
    assert_eq!(
        delayed.message.properties.headers[headers::EVENT_TIME],
        "2030-01-01T00:00:00Z".into()
    );
}

#[test]
fn a_delay_beyond_all_dates_is_named() {
    let after =
        |ms| Publication { due: Due::After(Duration::from_millis(ms)), ..Publication::default() };
    // What -1 becomes.
    let reason = answer(after(u64::MAX)).unwrap_err();
    assert_eq!(
        reason,
        "publication 1 of 1: due in 18446744073709551615 ms is after the year 9999: a negative \
         number?"
    );
    let last = 253_402_300_799_998;
    assert!(answer(after(last + 1)).is_ok(), "a moment before");
    assert!(answer(after(last + 2)).is_err());
    let Ok(Planned::Later(delayed)) = answer(after(last)) else { panic!("not delayed") };
    assert_eq!(delayed.due, Datetime::from_unix(253_402_300_799, 998_000_000).unwrap());
}

#[test]
fn what_may_not_leave_is_named() {
    let elsewhere = Publication { exchange: Some("os2mo".into()), ..Publication::default() };
    let reason = answer(elsewhere).unwrap_err();
    assert!(reason.contains("\"os2mo\"") && reason.contains("[plugin.p] exchanges"), "{reason}");
    let ours = Publication {
        headers: vec![("mo-router-hops".into(), "0".into())],
        ..Publication::default()
    };
    assert!(answer(ours).unwrap_err().contains("mo-router-hops"));
    let heavy = Publication {
        headers: vec![("h".into(), "v".repeat(64 << 10).into())],
        ..Publication::default()
    };
    assert!(answer(heavy).unwrap_err().contains("65537 bytes"));
    let long = Publication { routing_key: Some("k".repeat(256)), ..Publication::default() };
    assert!(answer(long).unwrap_err().contains("256 bytes"));
}

fn with(own: OwnProperties) -> Publication {
    Publication { properties: Some(Box::new(own)), ..Publication::default() }
}

#[test]
fn properties_that_a_plugin_sets_take_the_place_of_the_event_s() {
    let text = |text: &str| Some(text.to_owned());
    let mut event = event();
    *event.message.properties = Properties {
        content_type: text("application/json"),
        content_encoding: text("gzip"),
        reply_to: text("q"),
        expiration: text("60000"),
        priority: Some(1),
        timestamp: Some(7),
        ..Properties::default()
    };
    let own = OwnProperties {
        content_type: text("text/plain"),
        content_encoding: text(""),
        priority: Some(9),
        kind: text("told"),
        ..OwnProperties::default()
    };
    let sent = |publication: Publication| {
        let now = Datetime::from_unix(0, 0).unwrap();
        let planned = plan(&author(), event.clone(), vec![publication], now).unwrap();
        *planned[0].message().properties.clone()
    };
    let changed = sent(with(own.clone()));
    assert_eq!(changed.content_type, text("text/plain"));
    assert_eq!(changed.content_encoding, None, "an empty text leaves it out");
    assert_eq!((changed.priority, changed.timestamp), (Some(9), Some(7)));
    assert_eq!((changed.kind, changed.reply_to), (text("told"), text("q")));
    assert_eq!(changed.expiration, text("60000"));
    // The event's time to live is not that of what waits; the plugin's own is.
    let later = Publication { due: Due::After(Duration::from_secs(1)), ..with(own) };
    assert_eq!(sent(later.clone()).expiration, None);
    let own = OwnProperties { expiration: text("5"), ..OwnProperties::default() };
    assert_eq!(sent(Publication { due: later.due, ..with(own) }).expiration, text("5"));
}

#[test]
fn properties_that_the_broker_would_refuse_are_named() {
    let text = |text: &str| Some(text.to_owned());
    let expiration = |value| OwnProperties { expiration: text(value), ..OwnProperties::default() };
    for (own, expected) in [
        (
            OwnProperties { priority: Some(10), ..OwnProperties::default() },
            "priority 10 is above 9: give one from 0 to 9",
        ),
        (
            OwnProperties { app_id: Some("x".repeat(256)), ..OwnProperties::default() },
            "app-id \"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\"… has 256 bytes, more than 255: \
             shorten it",
        ),
        (
            expiration("soon"),
            "expiration \"soon\" is not a number of milliseconds from 0 to 4294967295",
        ),
        (expiration("+5"), "expiration \"+5\""),
        (expiration("4294967296"), "expiration \"4294967296\""),
    ] {
        let reason = answer(with(own)).unwrap_err();
        assert!(
            reason.starts_with("publication 1 of 1: ") && reason.contains(expected),
            "{reason}"
        );
    }
    for fine in ["0", "4294967295", ""] {
        assert!(answer(with(expiration(fine))).is_ok(), "{fine:?}");
    }
    let table = Value::Table([("n".repeat(256), Value::Null)].into());
    let headers = vec![("h".into(), Value::List(vec![table]))];
    let reason = answer(Publication { headers, ..Publication::default() }).unwrap_err();
    assert!(
        reason.contains("header \"h\": name \"nnnn") && reason.contains("256 bytes"),
        "{reason}"
    );
}
