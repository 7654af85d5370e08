//! What both stores promise when something in them, or about them, is wrong.

use std::io::BufReader;
use std::sync::Arc;
use std::time::Duration;

use mo_router::clock::Clock;
use mo_router::delay::import::{Imported, Target, file};
use mo_router::delay::{self, Filter, Import, Store};
use mo_router::event::{Datetime, Outgoing};
use mo_router::health::{Code, Health};
use mo_router::transport::Fate;

use super::{
    Home, Router, accept, at, channel, delayed, done, id, keyed, number_of, stored, within,
};
use crate::support::ask_until;

on_both_stores! {
    what_the_store_refuses_is_given_back_and_the_rest_is_stored
    a_damaged_row_is_set_aside_shown_and_cancelled
    a_store_that_fails_shows_in_health_until_it_works
    that_nothing_can_be_claimed_is_over_with_the_broker
    what_is_overdue_shows_in_health
    what_is_nacked_shows_in_health_until_it_is_confirmed
    a_pause_of_a_wrong_clock_ends
    a_routing_key_that_amqp_cannot_carry_becomes_a_dead_letter
    everything_moves_to_the_other_kind_of_store
}

/// A store whose health is seen.
async fn seen(home: &Home) -> (Store, Health) {
    let health = Health::default();
    let store = within(Store::wait_for(&home.settings, &health)).await.unwrap();
    (store, health)
}

async fn until_health(health: &Health, code: Code, is_there: bool) {
    ask_until(&format!("{code:?} to be {is_there}"), || async {
        (health.has(code) == is_there).then_some(())
    })
    .await;
}

/// One message of a batch is such that the database does not take it.
async fn what_the_store_refuses_is_given_back_and_the_rest_is_stored(home: Home) {
    let store = home.open().await;
    home.refuse_routing_key("refused").await;
    let (handle, committing) = delay::accepting(store.clone(), Health::default());
    let (tell, mut told) = channel();
    for number in 0..100_u32 {
        let mut message = delayed(&number.to_string(), at(number.into()));
        if number == 61 {
            message.message.routing_key = "refused".into();
        }
        handle.accept(number.into(), message, &tell).await;
    }
    tokio::spawn(committing);
    let mut safe = 0;
    for _ in 0..100 {
        let answer = within(told.recv()).await.unwrap();
        match answer.refused {
            None => safe += 1,
            Some(refused) => {
                assert_eq!((answer.token, refused.0.id()), (61, "61"));
                assert!(refused.1.contains("the test does not take it"), "{}", refused.1);
            }
        }
    }
    assert_eq!((safe, stored(&store).await.len()), (99, 99));
}

async fn a_damaged_row_is_set_aside_shown_and_cancelled(home: Home) {
    let store = home.open().await;
    accept(&store, [delayed("a", at(1)), delayed("b", at(2))]).await;
    let number = number_of(&store, "a").await;
    // PostgreSQL takes no text that is not UTF-8.
    let damage = if home.is_postgres() { "" } else { ", exchange = CAST(x'ff61' AS TEXT)" };
    home.sql(&format!("UPDATE MESSAGES SET attempts = -1 {damage} WHERE id = {number}")).await;
    let mut router = Router::start(&store, &Clock::starting_at(at(10)));
    assert_eq!(router.next_arrives().await, "b");
    router.stop().await;
    let listed = store.list(Filter::default(), None, 10).await.unwrap();
    assert_eq!((listed.len(), listed[0].id), (1, number));
    let shown = store.show(number).await.unwrap().unwrap();
    assert!(shown.delayed.due > at(10), "it is tried again later");
    if !home.is_postgres() {
        let damage = shown.damage.unwrap_or_default();
        assert!(damage.contains("its exchange is not text"), "{damage}");
    }
    let mut lines = Vec::new();
    let (written, _) = delay::export::export(&store, &mut lines).await.unwrap();
    assert_eq!(written, 1);
    assert_eq!(store.cancel(vec![number]).await.unwrap(), done(&[number]));
}

async fn a_store_that_fails_shows_in_health_until_it_works(home: Home) {
    let (store, health) = seen(&home).await;
    let mut router = Router::start(&store, &Clock::system());
    let (handle, committing) = delay::accepting(store.clone(), health.clone());
    tokio::spawn(committing);
    home.sql("ALTER TABLE MESSAGES RENAME TO hidden").await;
    // What releases notices by itself, also while nothing is stored.
    until_health(&health, Code::StoreUnavailable, true).await;
    let (tell, mut told) = channel();
    handle.accept(1, delayed("a", at(1)), &tell).await;
    home.rename_back().await;
    assert!(within(told.recv()).await.unwrap().refused.is_none());
    assert_eq!(router.next_arrives().await, "a");
    until_health(&health, Code::StoreUnavailable, false).await;
    router.stop().await;
}

/// The store may be back long before the broker is, and nothing is claimed until then.
async fn that_nothing_can_be_claimed_is_over_with_the_broker(home: Home) {
    let (store, health) = seen(&home).await;
    let router = Router::start(&store, &Clock::system());
    home.sql("ALTER TABLE MESSAGES RENAME TO hidden").await;
    until_health(&health, Code::StoreUnavailable, true).await;
    router.lose_broker().await;
    assert_eq!(health.reasons(), []);
    let watching = tokio::spawn(delay::watch(store.clone(), Clock::system()));
    until_health(&health, Code::StoreUnavailable, true).await;
    home.rename_back().await;
    until_health(&health, Code::StoreUnavailable, false).await;
    watching.abort();
}

async fn what_is_overdue_shows_in_health(home: Home) {
    let (store, health) = seen(&home).await;
    accept(&store, [delayed("late", at(0)), delayed("ahead", Datetime::NO_DATE)]).await;
    let watching = tokio::spawn(delay::watch(store.clone(), Clock::system()));
    until_health(&health, Code::Overdue, true).await;
    assert_eq!(store.stats().overdue(), Some(1));
    assert!(mo_router::health::is_ready(&health.reasons()), "people are only told");
    let mut router = Router::start(&store, &Clock::system());
    assert_eq!(router.next_arrives().await, "late");
    until_health(&health, Code::Overdue, false).await;
    router.stop().await;
    watching.abort();
}

/// It is due later each time, and never for long.
async fn what_is_nacked_shows_in_health_until_it_is_confirmed(home: Home) {
    let (store, health) = seen(&home).await;
    accept(&store, [delayed("nacked", at(0)), delayed("ahead", Datetime::NO_DATE)]).await;
    let overdue = || async {
        let filter = Filter { overdue: Some(Datetime::now()), ..Filter::default() };
        let list = store.list(filter.clone(), None, 10).await.unwrap();
        let count = store.count(filter, Datetime::now()).await.unwrap().total;
        assert_eq!(list.len() as u64, count);
        list.iter().map(|stored| stored.delayed.message.id().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(overdue().await, ["nacked"]);
    let mut router = Router::start(&store, &Clock::system());
    for attempts in 1..=2 {
        let (token, message) = router.next().await;
        let nacked = Datetime::now();
        router.confirm(token, message, Fate::Nacked("its queue is full".into()));
        let number = number_of(&store, "nacked").await;
        let due = ask_until("it to be put off", || async {
            let stored = store.show(number).await.unwrap().unwrap();
            (stored.attempts == attempts).then_some(stored.delayed.due)
        })
        .await;
        assert!(due > nacked, "{due}");
    }
    // Whatever was due until then.
    let overview = store.overview(at(1)).await.unwrap();
    assert_eq!((overview.overdue, overview.problem.as_deref()), (1, Some("its queue is full")));
    let watching = tokio::spawn(delay::watch(store.clone(), Clock::system()));
    assert_eq!(overdue().await, ["nacked"]);
    until_health(&health, Code::Overdue, true).await;
    assert_eq!(store.stats().overdue(), Some(1));
    let said = health.reasons().remove(0).text;
    assert!(said.contains("its queue is full"), "{said}");
    assert_eq!(router.next_arrives().await, "nacked");
    until_health(&health, Code::Overdue, false).await;
    assert_eq!(overdue().await, [""; 0]);
    router.stop().await;
    watching.abort();
}

/// A message was put off while a clock was a day ahead.
async fn a_pause_of_a_wrong_clock_ends(home: Home) {
    let (store, _) = seen(&home).await;
    let tomorrow = Datetime::now().saturating_add(Duration::from_secs(24 * 3600));
    accept(&store, [delayed("put off", tomorrow), delayed("tomorrow", tomorrow)]).await;
    let number = number_of(&store, "put off").await;
    home.sql(&format!("UPDATE MESSAGES SET attempts = 1 WHERE id = {number}")).await;
    let watching = tokio::spawn(delay::watch(store.clone(), Clock::system()));
    let mut router = Router::start(&store, &Clock::system());
    assert_eq!(router.next_arrives().await, "put off");
    router.stop().await;
    watching.abort();
    assert_eq!(stored(&store).await, ["tomorrow"]);
}

async fn a_routing_key_that_amqp_cannot_carry_becomes_a_dead_letter(home: Home) {
    let store = home.open().await;
    let mut long = delayed("long", at(1));
    long.message.routing_key = "x".repeat(300);
    accept(&store, [long.clone()]).await;
    let mut router = Router::start(&store, &Clock::starting_at(at(10)));
    let (token, outgoing) = router.next().await;
    assert_eq!(id(&outgoing), "dead long");
    let Outgoing::Dead(letter) = &outgoing else { panic!("{outgoing:?}") };
    assert!(letter.reason.contains("300 bytes"), "{}", letter.reason);
    assert_eq!(letter.message.routing_key, long.message.routing_key);
    router.confirm(token, outgoing, Fate::Confirmed);
    router.stop().await;
    assert_eq!(stored(&store).await, [""; 0]);
}

async fn everything_moves_to_the_other_kind_of_store(home: Home) {
    let store = home.open().await;
    let mut odd = keyed("odd", Datetime::NO_DATE, "key of ✓");
    odd.message.body = vec![0, 159, 146, 150].into();
    odd.message.properties.headers.insert("n".into(), 42.into());
    accept(&store, [odd, delayed("twice", at(1)), delayed("twice", at(1))]).await;
    let agents = Import { id: "an agent's".into(), delayed: delayed("sent since", at(1)) };
    assert_eq!(store.import(Arc::new(vec![agents])).await.unwrap(), 1);
    store.cancel(vec![number_of(&store, "sent since").await]).await.unwrap();
    if !home.is_postgres() {
        let odd = Import { id: "an odd\0one".into(), delayed: delayed("odd one", at(1)) };
        assert_eq!(store.import(Arc::new(vec![odd])).await.unwrap(), 1);
        store.cancel(vec![number_of(&store, "odd one").await]).await.unwrap();
    }
    let mut lines = Vec::new();
    assert_eq!(delay::export::export(&store, &mut lines).await.unwrap(), (3, 0));

    let other = if home.is_postgres() { Home::sqlite() } else { Home::postgres() };
    let target = other.open().await;
    let import = async || {
        let lines = BufReader::new(&lines[..]);
        file::import(Target::Store(&target), lines, |_| ()).await.unwrap()
    };
    let all = Imported { read: 3, added: 3, ..Imported::default() };
    assert_eq!(import().await, all);
    let known = Imported { read: 3, known: 3, ..Imported::default() };
    assert_eq!(import().await, known);
    // What the first store has imported, and sent since perhaps, is not imported by the other one.
    let again = |id: &str| Arc::new(vec![Import { id: id.into(), delayed: delayed("i", at(1)) }]);
    assert_eq!(target.count_imported(again("an agent's")).await.unwrap(), 1);
    assert_eq!(target.import(again("another")).await.unwrap(), 1);
    target.cancel(vec![number_of(&target, "i").await]).await.unwrap();
    let messages = async |store: &Store| -> Vec<_> {
        let page = store.page(0, 100).await.unwrap();
        page.into_iter().map(|stored| stored.delayed).collect()
    };
    let (mut before, mut after) = (messages(&store).await, messages(&target).await);
    before.sort_by_key(|delayed| delayed.due);
    after.sort_by_key(|delayed| delayed.due);
    assert_eq!(before, after);

    // And on from there: what it has imported itself is among what it still has.
    let (third, mut lines) = (Home::sqlite(), Vec::new());
    let third = third.open().await;
    assert_eq!(delay::export::export(&target, &mut lines).await.unwrap(), (3, 0));
    let lines = BufReader::new(&lines[..]);
    assert_eq!(file::import(Target::Store(&third), lines, |_| ()).await.unwrap(), all);
    assert_eq!(messages(&third).await.len(), 3);

    let batch = Arc::new(vec![delayed("new", at(3))]);
    assert_eq!(target.accept(batch).await.unwrap(), [0; 0]);

    // What was imported cannot be read: the messages can.
    let table = if home.is_postgres() { "mo_router_imported" } else { "imported" };
    home.sql(&format!("ALTER TABLE {table} RENAME TO lost")).await;
    assert_eq!(delay::export::export(&store, &mut Vec::new()).await.unwrap(), (3, 0));
}
