//! What both stores promise of messages that the broker does not take at once.

use std::time::Duration;

use mo_router::clock::Clock;
use mo_router::delay::{Filter, Store, Stored};
use mo_router::event::{Delayed, Outgoing};
use mo_router::health::{Code, Health};
use mo_router::transport::Fate;

use super::{Home, Router, accept, at, delayed, id, number_of, stored, until_stored, within};
use crate::support::ask_until;

on_both_stores! {
    what_is_nacked_again_and_again_becomes_a_dead_letter
    what_is_kept_of_a_large_dead_letter_is_all_of_it
    what_is_not_confirmed_holds_up_nothing_and_may_be_confirmed_yet
    what_is_let_go_is_sent_again
    what_goes_to_an_exchange_that_refuses_waits_until_it_takes_a_message
}

/// The message as it is stored, once the broker has nacked it so often.
async fn put_off(store: &Store, id: &str, attempts: u32) -> Stored {
    let number = number_of(store, id).await;
    ask_until("the message to be put off", || async {
        store.show(number).await.unwrap().filter(|stored| stored.attempts == attempts)
    })
    .await
}

/// One of the queues behind its key is full and rejects: each of the others gets a copy each time.
async fn what_is_nacked_again_and_again_becomes_a_dead_letter(home: Home) {
    let store = home.open().await;
    let clock = Clock::starting_at(at(10));
    accept(&store, [delayed("a", at(1))]).await;
    let mut router = Router::start(&store, &clock);
    let (mut copies, mut in_a_minute) = (0, 0);
    let (token, outgoing) = loop {
        let (token, outgoing) = router.next().await;
        if matches!(outgoing, Outgoing::Dead(_)) {
            break (token, outgoing);
        }
        copies += 1;
        in_a_minute += u32::from(clock.now() < at(10 + 60));
        router.confirm(token, outgoing, Fate::Nacked("a queue is full".into()));
        assert!(copies <= 8, "it is sent for ever");
        if copies < 8 {
            clock.set(put_off(&store, "a", copies).await.delayed.due);
        }
    };
    let Outgoing::Dead(letter) = &outgoing else { panic!("{outgoing:?}") };
    assert_eq!(letter.reason, "given up after 8 attempts, the last nacked: a queue is full");
    assert_eq!((copies, letter.attempts), (8, 8));
    assert!(in_a_minute <= 5, "{in_a_minute}");
    assert_eq!(letter.message, delayed("a", at(1)).message);
    router.confirm(token, outgoing, Fate::Confirmed);
    until_stored(&store, &[]).await;
    router.stop().await;
}

/// The broker takes no message as large as this one, and of its dead letter only the start; and then
/// not even that.
async fn what_is_kept_of_a_large_dead_letter_is_all_of_it(home: Home) {
    let store = home.open().await;
    let clock = Clock::starting_at(at(10));
    let mut large = delayed("large", at(1));
    large.message.body = vec![b'x'; 100 << 10].into();
    accept(&store, [large.clone()]).await;
    let mut router = Router::start(&store, &clock);
    let (mut token, mut outgoing) = router.next().await;
    while outgoing.message().body.len() == large.message.body.len() {
        router.confirm(token, outgoing, Fate::Unacceptable("it is too large".into()));
        (token, outgoing) = router.next().await;
    }
    router.confirm(token, outgoing, Fate::Nacked("it is full".into()));
    let kept = put_off(&store, "large", 1).await;
    assert!(kept.delayed.message == large.message, "{} bytes", kept.delayed.message.body.len());
    let problem = kept.problem.unwrap_or_default();
    assert!(problem.starts_with("it is too large"), "{problem}");
    clock.set(kept.delayed.due.saturating_add(Duration::from_secs(1)));
    assert_eq!(router.next_arrives().await, "large");
    until_stored(&store, &[]).await;
    router.stop().await;
    assert_eq!(store.count(Filter::default(), at(0)).await.unwrap().total, 0);
}

/// Messages behind whose key is a queue that has lost its majority, each in a claim of its own: more
/// of them than claims.
async fn stuck(
    store: &Store,
    clock: &Clock,
    router: &mut Router,
    count: i64,
) -> Vec<(u64, Outgoing)> {
    accept(store, (1..=count).map(|number| delayed(&format!("stuck {number}"), at(number)))).await;
    let mut unconfirmed = Vec::new();
    for number in 1..=count {
        clock.set(at(number));
        let (token, message) = router.next().await;
        assert_eq!(id(&message), format!("stuck {number}"));
        unconfirmed.push((token, message));
    }
    unconfirmed
}

async fn what_is_not_confirmed_holds_up_nothing_and_may_be_confirmed_yet(home: Home) {
    let store = home.open().await;
    let clock = Clock::starting_at(at(0));
    accept(&store, (0..100).map(|number| delayed(&number.to_string(), at(21)))).await;
    let mut router = Router::letting_go(&store, &clock);
    // If each claim waited for half a minute, it would take two and a half.
    let passing = async {
        let unconfirmed = stuck(&store, &clock, &mut router, 20).await;
        clock.set(at(21));
        for number in 0..100 {
            assert_eq!(router.next_arrives().await, number.to_string());
        }
        unconfirmed
    };
    let passed = tokio::time::timeout(Duration::from_secs(100), passing).await;
    let unconfirmed = passed.expect("the others wait for what is not confirmed");
    ask_until("the others to be gone", || async {
        (stored(&store).await.len() == 20).then_some(())
    })
    .await;
    for (token, message) in unconfirmed {
        router.confirm(token, message, Fate::Confirmed);
    }
    until_stored(&store, &[]).await;
    router.stop().await;
}

async fn what_is_let_go_is_sent_again(home: Home) {
    let store = home.open().await;
    let clock = Clock::starting_at(at(0));
    let mut router = Router::letting_go(&store, &clock);
    let unconfirmed = stuck(&store, &clock, &mut router, 5).await;
    let first = number_of(&store, "stuck 1").await;
    let problem = ask_until("the first to be put off", || async {
        store.show(first).await.unwrap().unwrap().problem
    })
    .await;
    assert!(problem.contains("not confirmed"), "{problem}");
    clock.set(at(100));
    while router.next_arrives().await != "stuck 1" {}
    for (token, message) in unconfirmed {
        router.confirm(token, message, Fate::Confirmed);
    }
    // The others may be sent again, too.
    let others = async {
        loop {
            router.next_arrives().await;
        }
    };
    tokio::select! {
        () = until_stored(&store, &[]) => {}
        _ = others => {}
    }
}

async fn what_goes_to_an_exchange_that_refuses_waits_until_it_takes_a_message(home: Home) {
    let health = Health::default();
    let store = within(Store::wait_for(&home.settings, &health)).await.unwrap();
    let clock = Clock::starting_at(at(100));
    let to = |exchange: &str, number: i64| {
        let mut delayed = delayed(&format!("{exchange} {number}"), at(number));
        delayed.message.exchange = exchange.into();
        delayed
    };
    let messages =
        |exchange: &'static str, count: i64| (1..=count).map(move |number| to(exchange, number));
    let all: Vec<Delayed> = messages("good", 5).chain(messages("forbidden", 25)).collect();
    accept(&store, all).await;
    let mut router = Router::start(&store, &clock);
    let (mut dead, mut good) = (0, 0);
    for _ in 0..30 + 19 {
        let (token, outgoing) = router.next().await;
        let fate = match &outgoing {
            Outgoing::Message(message) if message.exchange == "forbidden" => {
                Fate::Refused("the broker refuses it: 403 ACCESS_REFUSED".into())
            }
            Outgoing::Message(_) => {
                good += 1;
                Fate::Confirmed
            }
            Outgoing::Dead(letter) => {
                assert!(letter.reason.contains("403"), "{}", letter.reason);
                dead += 1;
                Fate::Confirmed
            }
        };
        router.confirm(token, outgoing, fate);
    }
    assert_eq!((dead, good), (19, 5));
    ask_until("the others to be put off", || async {
        (stored(&store).await.len() == 6).then_some(())
    })
    .await;
    let reasons = health.reasons();
    assert_eq!(reasons[0].code, Code::NotPermitted, "{reasons:?}");
    assert!(reasons[0].text.contains("\"forbidden\""), "{reasons:?}");

    // The next one is not even sent.
    accept(&store, [to("forbidden", 26), to("good", 26)]).await;
    assert_eq!(router.next_arrives().await, "good 26");
    put_off(&store, "forbidden 26", 1).await;

    // One is tried, and taken; the others follow.
    clock.set(at(200));
    let (token, message) = router.next().await;
    router.confirm(token, message, Fate::Confirmed);
    ask_until("the exchange to be in use again", || async {
        health.reasons().is_empty().then_some(())
    })
    .await;
    clock.set(at(400));
    for _ in 0..6 {
        router.next_arrives().await;
    }
    until_stored(&store, &[]).await;
    router.stop().await;
}
