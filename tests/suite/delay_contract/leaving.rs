//! What both stores promise of messages that the broker does not take at once.

use std::time::Duration;

use mo_router::clock::Clock;
use mo_router::delay::{Filter, Store, Stored};
use mo_router::event::Outgoing;
use mo_router::transport::Fate;

use super::{Home, Router, accept, at, delayed, number_of, until_stored};
use crate::support::ask_until;

on_both_stores! {
    what_is_nacked_again_and_again_becomes_a_dead_letter
    what_is_kept_of_a_large_dead_letter_is_all_of_it
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
    assert_eq!(letter.reason, "nacked 8 times: a queue is full");
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
        router.confirm(token, outgoing, Fate::Undeliverable("it is too large".into()));
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
