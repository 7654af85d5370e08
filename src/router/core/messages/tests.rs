use std::time::Duration;

use super::*;
use crate::clock::Clock;
use crate::event::{Datetime, Incoming, Publication};
use crate::router::End;
use crate::router::Record;
use crate::router::core::sample;
use crate::transport::Delivery;

fn event() -> Delivery<()> {
    let message = Incoming {
        exchange: "os2mo".into(),
        routing_key: "employee.it.create".into(),
        body: r#"{"uuid": "cf5c0a53-8a4e-4f2e-8a0e-1b2c3d4e5f60"}"#.into(),
        ..Incoming::default()
    };
    Delivery { message, receipt: () }
}

/// One of the queues behind the key is full and rejects: each of the others gets a copy each time.
#[test]
fn a_message_that_is_nacked_leaves_eight_copies_and_a_dead_letter() {
    let clock = Clock::starting_at(Datetime::from_unix(1_700_000_000, 0).unwrap());
    let mut core = sample::core(sample::terms(), Record::default());
    core.on_delivery(event(), clock.read());
    let job = core.next_call().unwrap();
    core.on_answer(job, Ok(vec![Publication::default()]), clock.read());
    let (mut copies, mut in_a_minute) = (0, 0);
    let letter = loop {
        match core.next_effect() {
            Some(Effect::Publish { token, outgoing: Outgoing::Message(message), .. }) => {
                copies += 1;
                let fate = Fate::Nacked("a queue is full".into());
                let outgoing = Outgoing::Message(message);
                core.on_completed(Completed { token, outgoing, fate }, clock.read());
            }
            Some(Effect::Publish { outgoing: Outgoing::Dead(letter), .. }) => break letter,
            Some(effect) => panic!("{effect:?}"),
            None => {
                clock.set(clock.now().saturating_add(Duration::from_secs(1)));
                let passed = clock.now().seconds() - 1_700_000_000;
                if passed == 60 {
                    in_a_minute = copies;
                }
                assert!(passed < 600, "it is sent for ever: {copies} copies");
                core.on_time(clock.instant());
            }
        }
    };
    assert_eq!(letter.reason, "given up after 8 attempts, the last nacked: a queue is full");
    assert_eq!((copies, letter.attempts), (8, 8));
    assert!(in_a_minute <= 5, "{in_a_minute}");
}

/// Each event goes to two exchanges, of which one refuses everything.
#[test]
fn one_exchange_that_refuses_suspends_the_plugin_though_another_takes_everything() {
    let clock = Clock::starting_at(Datetime::from_unix(1_700_000_000, 0).unwrap());
    let mut terms = sample::terms();
    terms.author.granted.push("forbidden".into());
    let most = terms.suspend_after;
    let mut core = sample::core(terms.clone(), Record::default());
    let both = || {
        let to = |exchange: &str| Publication {
            exchange: Some(exchange.into()),
            ..Publication::default()
        };
        vec![to("forbidden"), to("routed")]
    };
    // How many messages become dead letters until the plugin is suspended, or has had so many.
    let events = |core: &mut Core<()>, count: usize| {
        let mut dead = 0;
        for _ in 0..count {
            core.on_delivery(event(), clock.read());
            let Some(job) = core.next_call() else { break };
            core.on_answer(job, Ok(both()), clock.read());
            while let Some(effect) = core.next_effect() {
                let Effect::Publish { token, outgoing, .. } = effect else { continue };
                dead += usize::from(matches!(outgoing, Outgoing::Dead(_)));
                let fate = match &outgoing {
                    Outgoing::Message(message) if message.exchange == "forbidden" => {
                        Fate::Refused("403 ACCESS_REFUSED".into())
                    }
                    _ => Fate::Confirmed,
                };
                core.on_completed(Completed { token, outgoing, fate }, clock.read());
            }
        }
        dead
    };
    assert_eq!(events(&mut core, 10 * most), most - 1);
    assert_eq!(core.ending(), Some(End::Suspended));

    let mut record = core.take_record();
    record.breaker.half_open();
    let mut core = sample::core(terms, record);
    assert_eq!(events(&mut core, 10), 0, "it is tried, and is as it was");
    assert_eq!(core.ending(), Some(End::Suspended));
}

/// What was in flight when the session was told to end, whose exchange is gone.
#[test]
fn no_more_become_dead_letters_while_a_session_ends() {
    let clock = Clock::starting_at(Datetime::from_unix(1_700_000_000, 0).unwrap());
    for stopped in [true, false] {
        let terms = sample::terms();
        let most = terms.suspend_after;
        let mut core = sample::core(terms, Record::default());
        let mut sent = Vec::new();
        for _ in 0..3 * most {
            core.on_delivery(event(), clock.read());
            let job = core.next_call().unwrap();
            core.on_answer(job, Ok(vec![Publication::default()]), clock.read());
            while let Some(effect) = core.next_effect() {
                let Effect::Publish { token, outgoing, .. } = effect else { continue };
                sent.push((token, outgoing));
            }
        }
        match stopped {
            true => core.on_stop(clock.instant()),
            false => core.on_overfull(1, clock.instant()),
        }
        let mut dead = 0;
        for (token, outgoing) in sent {
            let fate = Fate::Refused("404 NOT_FOUND".into());
            core.on_completed(Completed { token, outgoing, fate }, clock.read());
            while let Some(effect) = core.next_effect() {
                let Effect::Publish { token, outgoing, .. } = effect else { continue };
                assert!(matches!(outgoing, Outgoing::Dead(_)));
                dead += 1;
                let fate = Fate::Confirmed;
                core.on_completed(Completed { token, outgoing, fate }, clock.read());
            }
        }
        assert_eq!(dead, most - 1, "the rest is redelivered");
        let end = if stopped { End::Stopped } else { End::Suspended };
        assert_eq!(core.ended(), Some(end));
    }
}
