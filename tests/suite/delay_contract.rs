//! What both delay stores promise, with a virtual clock and a broker that the
//! test plays.

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::sync::Arc;

use mo_router::clock::Clock;
use mo_router::delay::{self, Changed, Filter, Handle, Import, Store, release};
use mo_router::event::{Datetime, Delayed, Message, Outgoing, Properties, Value};
use mo_router::health::Health;
use mo_router::settings::{self, ServerUrl};
use mo_router::transport::{Completed, Fate, Outbox};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::support::postgres::Server;
use crate::support::{PATIENCE, ask_until, within_reason};

/// Where a store lives for the length of a test.
struct Home {
    settings: settings::StoreUrl,
    _folder: Option<tempfile::TempDir>,
    _server: Option<Arc<Server>>,
}

impl Home {
    fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let settings = settings::StoreUrl::Sqlite(folder.path().join("delays.db"));
        Self { settings, _folder: Some(folder), _server: None }
    }

    fn postgres() -> Self {
        let server = Server::shared();
        let settings =
            settings::StoreUrl::Postgres(ServerUrl::postgres(&server.database()).unwrap());
        Self { settings, _folder: None, _server: Some(server) }
    }

    fn is_postgres(&self) -> bool {
        matches!(self.settings, settings::StoreUrl::Postgres(_))
    }

    /// Says something to the database behind the store, whose messages are in `MESSAGES`.
    async fn sql(&self, sql: &str) -> u64 {
        match &self.settings {
            settings::StoreUrl::Sqlite(file) => {
                let connection = rusqlite::Connection::open(file).unwrap();
                connection.busy_timeout(PATIENCE).unwrap();
                connection.execute(&sql.replace("MESSAGES", "message"), []).unwrap() as u64
            }
            settings::StoreUrl::Postgres(url) => {
                let (client, connection) =
                    tokio_postgres::connect(url.expose(), tokio_postgres::NoTls).await.unwrap();
                tokio::spawn(connection);
                client.execute(&sql.replace("MESSAGES", "mo_router_delayed"), &[]).await.unwrap()
            }
        }
    }

    /// Lets the database refuse messages with this routing key, as it refuses what it has no
    /// place for.
    async fn refuse_routing_key(&self, routing_key: &str) {
        if !self.is_postgres() {
            let refuse = format!(
                "CREATE TRIGGER refuse BEFORE INSERT ON MESSAGES WHEN NEW.routing_key = '{routing_key}'
                 BEGIN SELECT RAISE(ABORT, 'the test does not take it'); END"
            );
            self.sql(&refuse).await;
            return;
        }
        self.sql(&format!(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                 IF NEW.routing_key = '{routing_key}' THEN
                     RAISE 'the test does not take it' USING ERRCODE = '22021';
                 END IF;
                 RETURN NEW;
             END $$"
        ))
        .await;
        let sql = "CREATE TRIGGER refuse BEFORE INSERT ON MESSAGES FOR EACH ROW EXECUTE FUNCTION refuse()";
        self.sql(sql).await;
    }

    /// Undoes `ALTER TABLE MESSAGES RENAME TO hidden`.
    async fn rename_back(&self) {
        self.sql("ALTER TABLE hidden RENAME TO MESSAGES").await;
    }

    async fn open(&self) -> Store {
        Store::open(&self.settings).await.unwrap()
    }
}

macro_rules! on_both_stores {
    ($($test:ident)*) => {
        mod sqlite { $(#[tokio::test] async fn $test() { super::$test(super::Home::sqlite()).await })* }
        mod postgres { $(#[tokio::test] async fn $test() { super::$test(super::Home::postgres()).await })* }
    };
}

mod access;
mod agent;
mod damage;
mod database;
mod file;
mod leaving;
mod trouble;
mod upgrade;

on_both_stores! {
    messages_come_back_as_they_were
    messages_leave_when_due_and_in_due_order
    what_is_past_leaves_at_once
    one_that_is_accepted_later_and_due_earlier_leaves_first
    a_newer_one_with_the_same_key_replaces_the_pending_one
    odd_keys_stop_nothing
    a_replacement_is_kept_while_the_old_one_is_on_its_way
    equal_message_ids_are_all_kept
    what_was_not_confirmed_is_sent_again_by_the_next_session
    what_arrived_is_gone_after_a_restart
    what_is_refused_is_tried_again_behind_the_others
    what_is_refused_alone_is_tried_again
    what_cannot_arrive_becomes_a_dead_letter
    what_cannot_be_read_waits_for_a_person_and_holds_up_nothing
    shutdown_waits_for_what_is_in_flight
    people_cancel_reschedule_and_send_now_beside_a_router
    what_is_rescheduled_tells_its_new_time
    people_leave_alone_what_is_in_flight_until_it_is_put_off
    what_is_in_flight_and_confirmed_was_never_cancelled
    what_was_in_flight_to_a_broker_that_is_gone_can_be_cancelled
    what_is_refused_and_replaced_meanwhile_is_gone
    lists_are_filtered_and_paged
    counts_say_when_messages_are_due
    imports_add_nothing_twice
    a_newer_stores_schema_is_refused
    thousands_leave_in_order
    large_messages_are_kept
    large_messages_are_under_way_a_few_at_a_time
}

/// Seconds after some day.
fn at(seconds: i64) -> Datetime {
    Datetime::from_unix(1_700_000_000 + seconds, 0).unwrap()
}

fn delayed(id: &str, due: Datetime) -> Delayed {
    let message = Message {
        exchange: "out".into(),
        routing_key: "employee.it.create".into(),
        properties: Properties { message_id: Some(id.into()), ..Properties::default() }.into(),
        body: id.to_owned().into(),
    };
    let uuid = "cf5c0a53-8a4e-4f2e-8a0e-1b2c3d4e5f60".into();
    Delayed { message, due, plugin: "p".into(), version: "1".into(), key: None, uuid }
}

fn keyed(id: &str, due: Datetime, key: &str) -> Delayed {
    Delayed { key: Some(key.into()), ..delayed(id, due) }
}

async fn accept(store: &Store, messages: impl IntoIterator<Item = Delayed>) {
    let left_out = store.accept(Arc::new(messages.into_iter().collect())).await.unwrap();
    assert_eq!(left_out, [0; 0]);
}

/// What a command answers that changed these, and had nothing to leave alone.
fn done(ids: &[i64]) -> Changed {
    Changed { done: ids.to_vec(), in_flight: Vec::new() }
}

/// The ids of all that is stored, in due order.
async fn stored(store: &Store) -> Vec<String> {
    let list = store.list(Filter::default(), None, 1000).await.unwrap();
    list.iter().map(|stored| stored.delayed.message.id().to_owned()).collect()
}

/// The number of the one message with this `message_id`.
async fn number_of(store: &Store, id: &str) -> i64 {
    let list = store.list(Filter::default(), None, 1000).await.unwrap();
    list.iter().find(|stored| stored.delayed.message.id() == id).unwrap().id
}

/// A router's scheduler, and the broker that it talks to.
struct Router {
    sent: UnboundedReceiver<(u64, Outgoing)>,
    fates: UnboundedSender<anyhow::Result<Completed>>,
    shutdown: CancellationToken,
    task: JoinHandle<anyhow::Result<()>>,
}

/// The scheduler's end of it.
struct Wire {
    sent: UnboundedSender<(u64, Outgoing)>,
    fates: UnboundedReceiver<anyhow::Result<Completed>>,
    /// What can be let go; none if nothing can, however long the test takes.
    waiting: Option<HashMap<u64, Outgoing>>,
}

impl Outbox for Wire {
    fn send(&mut self, token: u64, outgoing: Outgoing) {
        if let Some(waiting) = &mut self.waiting {
            waiting.insert(token, outgoing.clone());
        }
        let _ = self.sent.send((token, outgoing));
    }

    fn copy(&mut self, token: u64) -> Option<Outgoing> {
        self.waiting.as_ref()?.get(&token).cloned()
    }

    fn abandon(&mut self, _: u64) -> Option<Outgoing> {
        None
    }

    fn withdraw(&mut self, _: u64) -> Option<Outgoing> {
        None
    }

    async fn completed(&mut self) -> anyhow::Result<Completed> {
        let fate = self.fates.recv().await;
        let completed = fate.unwrap_or_else(|| Err(anyhow::anyhow!("the broker went away")))?;
        self.waiting.as_mut().map(|waiting| waiting.remove(&completed.token));
        Ok(completed)
    }
}

impl Router {
    fn start(store: &Store, clock: &Clock) -> Self {
        Self::start_with(store, clock, None)
    }

    /// One that lets go what the test does not confirm for long.
    fn letting_go(store: &Store, clock: &Clock) -> Self {
        Self::start_with(store, clock, Some(HashMap::new()))
    }

    fn start_with(store: &Store, clock: &Clock, waiting: Option<HashMap<u64, Outgoing>>) -> Self {
        let (sent_in, sent) = channel();
        let (fates, fates_out) = channel();
        let shutdown = CancellationToken::new();
        let (store, clock, stop) = (store.clone(), clock.clone(), shutdown.clone());
        let task = tokio::spawn(async move {
            let mut outbox = Wire { sent: sent_in, fates: fates_out, waiting };
            release(&store, &mut outbox, &clock, &(), &stop).await
        });
        Self { sent, fates, shutdown, task }
    }

    /// The next message that is sent.
    async fn next(&mut self) -> (u64, Outgoing) {
        within(self.sent.recv()).await.expect("the scheduler has ended")
    }

    /// The id of the next message, which arrives.
    async fn next_arrives(&mut self) -> String {
        let (token, outgoing) = self.next().await;
        let id = id(&outgoing);
        self.confirm(token, outgoing, Fate::Confirmed);
        id
    }

    fn confirm(&self, token: u64, outgoing: Outgoing, fate: Fate) {
        self.fates.send(Ok(Completed { token, outgoing, fate })).unwrap();
    }

    /// Nothing has been sent that the test has not seen, and nothing will be that
    /// is due now: the scheduler ends in good order without it.
    async fn stop(mut self) {
        self.shutdown.cancel();
        within(self.task).await.unwrap().unwrap();
        assert_eq!(self.sent.recv().await, None);
    }

    /// Ends the session as the loss of the broker does.
    async fn lose_broker(self) {
        drop(self.fates);
        within(self.task).await.unwrap().unwrap_err();
    }
}

fn id(outgoing: &Outgoing) -> String {
    match outgoing {
        Outgoing::Message(message) => message.id().to_owned(),
        Outgoing::Dead(letter) => format!("dead {}", letter.message.id()),
    }
}

#[expect(clippy::disallowed_methods, reason = "a test sends what it sends, and ends")]
fn channel<T>() -> (UnboundedSender<T>, UnboundedReceiver<T>) {
    mpsc::unbounded_channel()
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    within_reason("the store or its scheduler", future).await
}

/// Waits until the store holds just these.
async fn until_stored(store: &Store, expected: &[&str]) {
    ask_until("the store to change", || async { (stored(store).await == expected).then_some(()) })
        .await;
}

fn numbered(numbers: impl IntoIterator<Item = f64>) -> impl Iterator<Item = (String, Value)> {
    (0..).zip(numbers).map(|(at, number): (u8, _)| (format!("number-{at}"), Value::Float(number)))
}

fn bits(headers: &BTreeMap<String, Value>) -> Vec<u64> {
    let bits = headers.values().map(|value| match value {
        Value::Float(number) => number.to_bits(),
        other => panic!("{other:?}"),
    });
    bits.collect()
}

async fn messages_come_back_as_they_were(home: Home) {
    let mut odd = keyed("odd", Datetime::NO_DATE, "key\0 of ✓");
    odd.message.body = vec![0, 159, 146, 150].into();
    odd.message.properties.headers.insert("n".into(), 42.into());
    odd.message.properties.headers.insert("t".into(), "\0✓".into());
    odd.message.properties.priority = Some(3);
    let odd_numbers = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0, 31.245270191439438];
    let mut other = delayed("other", Datetime::NO_DATE);
    other.message.properties.headers.extend(numbered(odd_numbers));
    let early = delayed("early", "0001-01-01T00:00:00Z".parse().unwrap());

    let store = home.open().await;
    accept(&store, [odd.clone(), early.clone()]).await;
    let list = home.open().await.list(Filter::default(), None, 10).await.unwrap();
    // PostgreSQL has no way to keep a NUL in a text.
    if home.is_postgres() {
        odd.key = Some("key\u{2400} of ✓".into());
    }
    for (listed, whole) in list.iter().zip([early, odd]) {
        assert_eq!(store.show(listed.id).await.unwrap().unwrap().delayed, whole);
        // A list has all but the bodies, which can be large.
        let message = Message { body: bytes::Bytes::new(), ..whole.message };
        assert_eq!(listed.delayed, Delayed { message, ..whole });
    }
    assert_eq!(store.show(list[1].id + 1000).await.unwrap(), None);

    accept(&store, [other]).await;
    let stored = store.show(number_of(&store, "other").await).await.unwrap().unwrap();
    // Not a number is not equal to itself.
    assert_eq!(bits(&stored.delayed.message.properties.headers), odd_numbers.map(f64::to_bits));
}

async fn messages_leave_when_due_and_in_due_order(home: Home) {
    let store = home.open().await;
    let clock = Clock::starting_at(at(0));
    accept(
        &store,
        [delayed("c", at(30)), delayed("a", at(10)), delayed("b", at(20)), delayed("d", at(40))],
    )
    .await;
    let mut router = Router::start(&store, &clock);
    clock.set(at(10));
    assert_eq!(router.next_arrives().await, "a");
    clock.set(at(35));
    assert_eq!(router.next_arrives().await, "b");
    assert_eq!(router.next_arrives().await, "c");
    until_stored(&store, &["d"]).await;
    router.stop().await;
}

async fn what_is_past_leaves_at_once(home: Home) {
    let store = home.open().await;
    let clock = Clock::starting_at(at(0));
    let mut router = Router::start(&store, &clock);
    accept(&store, [delayed("moon", "1969-07-20T20:17:40Z".parse().unwrap())]).await;
    assert_eq!(router.next_arrives().await, "moon");
    accept(&store, [delayed("just now", at(0)), delayed("never", Datetime::NO_DATE)]).await;
    assert_eq!(router.next_arrives().await, "just now");
    until_stored(&store, &["never"]).await;
    router.stop().await;
}

async fn one_that_is_accepted_later_and_due_earlier_leaves_first(home: Home) {
    let store = home.open().await;
    let clock = Clock::starting_at(at(0));
    accept(&store, [delayed("late", at(100))]).await;
    let mut router = Router::start(&store, &clock);
    accept(&store, [delayed("early", at(50))]).await;
    clock.set(at(50));
    assert_eq!(router.next_arrives().await, "early");
    clock.set(at(100));
    assert_eq!(router.next_arrives().await, "late");
    router.stop().await;
}

async fn a_newer_one_with_the_same_key_replaces_the_pending_one(home: Home) {
    let store = home.open().await;
    accept(&store, [keyed("1", at(10), "k"), keyed("other key", at(11), "l")]).await;
    // In one batch the last wins.
    accept(&store, [keyed("2", at(20), "k"), keyed("3", at(30), "k"), delayed("no key", at(31))])
        .await;
    let other_plugin = Delayed { plugin: "q".into(), ..keyed("other plugin", at(40), "k") };
    accept(&store, [other_plugin]).await;
    assert_eq!(stored(&store).await, ["other key", "3", "no key", "other plugin"]);
}

/// Keys that only PostgreSQL takes for the same, in one batch.
async fn odd_keys_stop_nothing(home: Home) {
    let store = home.open().await;
    accept(&store, [keyed("1", at(10), "k\0"), keyed("2", at(20), "k\u{2400}")]).await;
    let kept: &[&str] = if home.is_postgres() { &["2"] } else { &["1", "2"] };
    assert_eq!(stored(&store).await, kept);
}

/// Which holds up nothing else.
async fn a_replacement_is_kept_while_the_old_one_is_on_its_way(home: Home) {
    let store = home.open().await;
    let clock = Clock::starting_at(at(10));
    let (handle, committing) = delay::accepting(store.clone(), Health::default());
    tokio::spawn(committing);
    let (done, mut committed) = channel();
    accept(&store, [keyed("old", at(10), "k")]).await;
    let mut router = Router::start(&store, &clock);
    let (token, old) = router.next().await;

    handle.accept(1, keyed("new", at(20), "k"), &done).await;
    handle.accept(2, keyed("another", at(40), "l"), &done).await;
    handle.accept(3, delayed("other", at(50)), &done).await;
    let mut safe = Vec::new();
    while !(safe.contains(&2) && safe.contains(&3)) {
        safe.extend(within(committed.recv()).await.map(|answer| answer.token));
    }
    handle.accept(4, keyed("newer", at(30), "k"), &done).await;
    if home.is_postgres() {
        assert_eq!(stored(&store).await, ["old", "another", "other"]);
    }
    router.confirm(token, old, Fate::Confirmed);
    while safe.len() < 4 {
        safe.extend(within(committed.recv()).await.map(|answer| answer.token));
    }
    until_stored(&store, &["newer", "another", "other"]).await;
    clock.set(at(30));
    assert_eq!(router.next_arrives().await, "newer");
    router.stop().await;
}

async fn equal_message_ids_are_all_kept(home: Home) {
    let store = home.open().await;
    accept(&store, [delayed("twice", at(1)), delayed("twice", at(1))]).await;
    let mut router = Router::start(&store, &Clock::starting_at(at(1)));
    assert_eq!(router.next_arrives().await, "twice");
    assert_eq!(router.next_arrives().await, "twice");
    router.stop().await;
}

async fn what_was_not_confirmed_is_sent_again_by_the_next_session(home: Home) {
    let store = home.open().await;
    let clock = Clock::starting_at(at(10));
    accept(&store, [delayed("a", at(1)), delayed("b", at(2))]).await;
    let mut router = Router::start(&store, &clock);
    assert_eq!(id(&router.next().await.1), "a");
    assert_eq!(id(&router.next().await.1), "b");
    router.lose_broker().await;
    let mut router = Router::start(&store, &clock);
    assert_eq!(router.next_arrives().await, "a");
    assert_eq!(router.next_arrives().await, "b");
    router.stop().await;
    assert_eq!(stored(&store).await, [""; 0]);
}

async fn what_arrived_is_gone_after_a_restart(home: Home) {
    let clock = Clock::starting_at(at(10));
    let store = home.open().await;
    accept(&store, [delayed("a", at(1)), delayed("b", at(20))]).await;
    let mut router = Router::start(&store, &clock);
    assert_eq!(router.next_arrives().await, "a");
    router.stop().await;
    drop(store);
    let store = home.open().await;
    assert_eq!(stored(&store).await, ["b"]);
}

async fn what_is_refused_is_tried_again_behind_the_others(home: Home) {
    let store = home.open().await;
    let clock = Clock::starting_at(at(10));
    accept(&store, [keyed("full", at(1), "k")]).await;
    let mut router = Router::start(&store, &clock);
    let (token, message) = router.next().await;
    router.confirm(token, message, Fate::Nacked("the queue is full".into()));
    accept(&store, [delayed("behind", at(2))]).await;
    assert_eq!(router.next_arrives().await, "behind");
    until_stored(&store, &["full"]).await;
    let waiting = store.show(number_of(&store, "full").await).await.unwrap().unwrap();
    assert_eq!((waiting.attempts, waiting.problem.as_deref()), (1, Some("the queue is full")));
    assert!(waiting.delayed.due > at(10), "{}", waiting.delayed.due);
    assert_eq!(waiting.delayed.message, keyed("full", at(1), "k").message);
    clock.set(waiting.delayed.due);
    assert_eq!(router.next_arrives().await, "full");
    router.stop().await;
}

/// With nothing else to wake the scheduler, and on the machine's clock.
async fn what_is_refused_alone_is_tried_again(home: Home) {
    let store = home.open().await;
    accept(&store, [delayed("full", at(1))]).await;
    let mut router = Router::start(&store, &Clock::system());
    let (token, message) = router.next().await;
    router.confirm(token, message, Fate::Nacked("the queue is full".into()));
    assert_eq!(router.next_arrives().await, "full");
    router.stop().await;
    assert_eq!(stored(&store).await, [""; 0]);
}

async fn what_cannot_arrive_becomes_a_dead_letter(home: Home) {
    let store = home.open().await;
    accept(&store, [delayed("a", at(1))]).await;
    let mut router = Router::start(&store, &Clock::starting_at(at(10)));
    let (token, message) = router.next().await;
    router.confirm(token, message, Fate::Returned("no queue takes it".into()));
    let (token, outgoing) = router.next().await;
    let Outgoing::Dead(letter) = &outgoing else { panic!("{outgoing:?}") };
    assert_eq!(
        (letter.reason.as_str(), letter.plugin.as_str(), letter.version.as_str()),
        ("no queue takes it", "p", "1")
    );
    assert_eq!(letter.message, delayed("a", at(1)).message);
    assert_eq!(stored(&store).await, ["a"]);
    router.confirm(token, outgoing, Fate::Confirmed);
    until_stored(&store, &[]).await;
    router.stop().await;
}

async fn what_cannot_be_read_waits_for_a_person_and_holds_up_nothing(home: Home) {
    let store = home.open().await;
    let clock = Clock::starting_at(at(10));
    accept(&store, [delayed("a", at(1)), delayed("b", at(2))]).await;
    let number = number_of(&store, "a").await;
    home.sql(&format!("UPDATE MESSAGES SET properties = 'broken' WHERE id = {number}")).await;
    let mut router = Router::start(&store, &clock);
    assert_eq!(router.next_arrives().await, "b");
    router.stop().await;
    let waiting = store.show(number).await.unwrap().unwrap();
    let problem = waiting.problem.as_deref().unwrap_or_default();
    assert!(problem.contains("its properties cannot be read"), "{problem}");
    assert_eq!((waiting.attempts, waiting.unreadable.as_deref()), (1, Some("broken")));
    let listed = store.list(Filter::default(), None, 10).await.unwrap();
    assert_eq!((listed.len(), &listed[0].damage), (1, &waiting.damage));

    // Alone, with nothing to send.
    clock.set(waiting.delayed.due);
    let router = Router::start(&store, &clock);
    ask_until("another attempt", || async {
        let due = store.show(number).await.unwrap().unwrap().delayed.due;
        (due > waiting.delayed.due).then_some(())
    })
    .await;
    router.stop().await;

    let mended = r#"UPDATE MESSAGES SET properties = '{"message_id": "mended"}'"#;
    home.sql(mended).await;
    clock.set(Datetime::NO_DATE);
    let mut router = Router::start(&store, &clock);
    assert_eq!(router.next_arrives().await, "mended");
    router.stop().await;
    assert_eq!(stored(&store).await, [""; 0]);
}

async fn shutdown_waits_for_what_is_in_flight(home: Home) {
    let store = home.open().await;
    accept(&store, [delayed("a", at(1)), delayed("b", at(20))]).await;
    let clock = Clock::starting_at(at(10));
    let mut router = Router::start(&store, &clock);
    let (token, message) = router.next().await;
    router.shutdown.cancel();
    clock.set(at(20));
    router.confirm(token, message, Fate::Confirmed);
    router.stop().await;
    assert_eq!(stored(&store).await, ["b"]);
}

async fn people_cancel_reschedule_and_send_now_beside_a_router(home: Home) {
    let routers_store = home.open().await;
    let clock = Clock::starting_at(at(0));
    accept(&routers_store, [delayed("a", at(100)), delayed("b", at(200)), delayed("c", at(300))])
        .await;
    let mut router = Router::start(&routers_store, &clock);

    let store = home.open().await;
    let [a, b, c] =
        [number_of(&store, "a").await, number_of(&store, "b").await, number_of(&store, "c").await];
    assert_eq!(store.cancel(vec![a, c + 1]).await.unwrap(), done(&[a]));
    assert_eq!(store.reschedule(vec![b, a], at(400)).await.unwrap(), done(&[b]));
    assert_eq!(store.reschedule(vec![c], at(0)).await.unwrap(), done(&[c]));
    assert_eq!(router.next_arrives().await, "c");
    clock.set(at(399));
    accept(&routers_store, [delayed("d", at(399))]).await;
    assert_eq!(router.next_arrives().await, "d");
    clock.set(at(400));
    assert_eq!(router.next_arrives().await, "b");
    router.stop().await;
}

async fn what_is_rescheduled_tells_its_new_time(home: Home) {
    let store = home.open().await;
    let mut told = delayed("a", at(100));
    let headers = &mut told.message.properties.headers;
    headers.insert("mo-router-due".into(), at(100).to_string().as_str().into());
    headers.insert("by \"mo-router-due\"".into(), "{\"Text\":\"1\"}".into());
    let mut expected = headers.clone();
    expected.insert("mo-router-due".into(), at(400).to_string().as_str().into());
    accept(&store, [told, delayed("untold", at(100))]).await;
    let [a, untold] = [number_of(&store, "a").await, number_of(&store, "untold").await];
    assert_eq!(store.reschedule(vec![a, untold], at(400)).await.unwrap(), done(&[a, untold]));
    let shown = async |id| store.show(id).await.unwrap().unwrap().delayed;
    let (told, untold) = (shown(a).await, shown(untold).await);
    assert_eq!((told.due, &told.message.properties.headers), (at(400), &expected));
    assert_eq!(untold.message.properties, delayed("untold", at(400)).message.properties);
}

async fn people_leave_alone_what_is_in_flight_until_it_is_put_off(home: Home) {
    let routers_store = home.open().await;
    let clock = Clock::starting_at(at(10));
    accept(&routers_store, [delayed("a", at(1)), delayed("b", at(2)), delayed("c", at(3))]).await;
    let mut router = Router::start(&routers_store, &clock);
    let in_flight = [router.next().await, router.next().await, router.next().await];

    let store = home.open().await;
    let [a, b, c] =
        [number_of(&store, "a").await, number_of(&store, "b").await, number_of(&store, "c").await];
    let left_alone = Changed { in_flight: vec![a], ..Changed::default() };
    assert_eq!(store.cancel(vec![a]).await.unwrap(), left_alone);
    for (token, message) in in_flight {
        router.confirm(token, message, Fate::Nacked("the queue is full".into()));
    }
    ask_until("the claim to be settled", || async {
        (store.cancel(vec![a]).await.unwrap() == done(&[a])).then_some(())
    })
    .await;
    assert_eq!(store.reschedule(vec![b], at(500)).await.unwrap(), done(&[b]));
    assert_eq!(store.reschedule(vec![c], at(0)).await.unwrap(), done(&[c]));
    assert_eq!(router.next_arrives().await, "c");
    until_stored(&store, &["b"]).await;
    clock.set(at(500));
    assert_eq!(router.next_arrives().await, "b");
    router.stop().await;
    assert_eq!(stored(&store).await, [""; 0]);
}

/// Whoever is told that a message is cancelled is told the truth.
async fn what_is_in_flight_and_confirmed_was_never_cancelled(home: Home) {
    let store = home.open().await;
    accept(&store, [delayed("a", at(1))]).await;
    let a = number_of(&store, "a").await;
    let mut router = Router::start(&store, &Clock::starting_at(at(10)));
    let (token, message) = router.next().await;
    assert_eq!(store.cancel(vec![a]).await.unwrap().done, [0; 0]);
    router.confirm(token, message, Fate::Confirmed);
    ask_until("the claim to be settled", || async {
        (store.cancel(vec![a]).await.unwrap() == done(&[])).then_some(())
    })
    .await;
    router.stop().await;
}

/// However long it stays away.
async fn what_was_in_flight_to_a_broker_that_is_gone_can_be_cancelled(home: Home) {
    let store = home.open().await;
    accept(&store, [delayed("a", at(1))]).await;
    let a = number_of(&store, "a").await;
    let mut router = Router::start(&store, &Clock::starting_at(at(10)));
    router.next().await;
    let people = home.open().await;
    assert_eq!(people.cancel(vec![a]).await.unwrap().in_flight, [a]);
    router.lose_broker().await;
    ask_until("it to be cancelled", || async {
        (people.cancel(vec![a]).await.unwrap() == done(&[a])).then_some(())
    })
    .await;
}

async fn what_is_refused_and_replaced_meanwhile_is_gone(home: Home) {
    let store = home.open().await;
    let clock = Clock::starting_at(at(10));
    let (handle, committing) = delay::accepting(store.clone(), Health::default());
    tokio::spawn(committing);
    let (done, mut committed) = channel();
    accept(&store, [keyed("old", at(1), "k")]).await;
    let mut router = Router::start(&store, &clock);
    let (token, message) = router.next().await;
    handle.accept(1, keyed("new", at(20), "k"), &done).await;
    router.confirm(token, message, Fate::Nacked("the queue is full".into()));
    within(committed.recv()).await;
    until_stored(&store, &["new"]).await;
    clock.set(at(100_000));
    assert_eq!(router.next_arrives().await, "new");
    router.stop().await;
    assert_eq!(stored(&store).await, [""; 0]);
}

async fn lists_are_filtered_and_paged(home: Home) {
    let store = home.open().await;
    let other = Delayed { plugin: "q".into(), uuid: "another".into(), ..keyed("x", at(3), "k") };
    accept(
        &store,
        [delayed("a", at(1)), delayed("b", at(2)), other, delayed("c", at(2)), delayed("d", at(5))],
    )
    .await;
    let ids = async |filter: Filter, after, limit| -> Vec<String> {
        let list = store.list(filter, after, limit).await.unwrap();
        list.iter().map(|stored| stored.delayed.message.id().to_owned()).collect()
    };
    let all = Filter::default;
    assert_eq!(ids(Filter { plugin: Some("q".into()), ..all() }, None, 9).await, ["x"]);
    assert_eq!(ids(Filter { uuid: Some("another".into()), ..all() }, None, 9).await, ["x"]);
    assert_eq!(ids(Filter { key: Some("k".into()), ..all() }, None, 9).await, ["x"]);
    assert_eq!(ids(Filter { key: Some("none".into()), ..all() }, None, 9).await, [""; 0]);
    assert_eq!(
        ids(Filter { from: Some(at(2)), until: Some(at(5)), ..all() }, None, 9).await,
        ["b", "c", "x"]
    );
    assert_eq!(ids(all(), None, 2).await, ["a", "b"]);
    assert_eq!(ids(all(), Some(number_of(&store, "b").await), 2).await, ["c", "x"]);
    assert_eq!(ids(all(), Some(number_of(&store, "d").await), 2).await, [""; 0]);
}

async fn counts_say_when_messages_are_due(home: Home) {
    let store = home.open().await;
    let empty = store.count(Filter::default(), at(0)).await.unwrap();
    assert_eq!((empty.total, empty.next), (0, None));
    let dues = [at(-5), at(0), at(60), at(61), at(86_400), Datetime::NO_DATE];
    accept(&store, dues.map(|due| delayed("m", due))).await;
    let census = store.count(Filter::default(), at(0)).await.unwrap();
    assert_eq!((census.total, census.next), (6, Some(at(-5))));
    assert_eq!(census.histogram, [2, 1, 1, 1, 0, 0, 0, 0, 1]);
    let filter = Filter { from: Some(at(61)), ..Filter::default() };
    let census = store.count(filter, at(0)).await.unwrap();
    assert_eq!((census.total, census.next), (3, Some(at(61))));
    assert_eq!(census.histogram, [0, 0, 1, 1, 0, 0, 0, 0, 1]);
    // Whichever range is the longest.
    let census = store.count(Filter::default(), at(86_400)).await.unwrap();
    assert_eq!((census.total, census.histogram), (6, vec![5, 0, 0, 0, 0, 0, 0, 0, 1]));
    let census = store.count(Filter::default(), at(-60)).await.unwrap();
    assert_eq!((census.total, census.histogram), (6, vec![0, 2, 2, 0, 1, 0, 0, 0, 1]));
}

async fn imports_add_nothing_twice(home: Home) {
    let store = home.open().await;
    let import = |delayed: Delayed| Import { id: delayed.message.id().to_owned(), delayed };
    let imports = |all: &[Delayed]| Arc::new(all.iter().cloned().map(import).collect::<Vec<_>>());
    let batch = imports(&[delayed("a", at(1)), delayed("b", at(2))]);
    assert_eq!(store.count_imported(Arc::clone(&batch)).await.unwrap(), 0);
    assert_eq!(store.import(Arc::clone(&batch)).await.unwrap(), 2);
    store.cancel(vec![number_of(&store, "a").await]).await.unwrap();
    let more = imports(&[delayed("a", at(1)), delayed("b", at(2)), delayed("c", at(3))]);
    assert_eq!(store.count_imported(Arc::clone(&more)).await.unwrap(), 2);
    assert_eq!(store.import(more).await.unwrap(), 1);
    assert_eq!(stored(&store).await, ["b", "c"]);
    // A newer message with the key is not replaced by an older one from elsewhere.
    accept(&store, [keyed("newer", at(4), "k")]).await;
    assert_eq!(store.import(imports(&[keyed("older", at(5), "k")])).await.unwrap(), 1);
    assert_eq!(stored(&store).await, ["b", "c", "newer"]);
}

async fn a_newer_stores_schema_is_refused(home: Home) {
    drop(home.open().await);
    match &home.settings {
        settings::StoreUrl::Sqlite(file) => {
            rusqlite::Connection::open(file)
                .unwrap()
                .pragma_update(None, "user_version", 1000)
                .unwrap();
        }
        settings::StoreUrl::Postgres(url) => {
            let (client, connection) =
                tokio_postgres::connect(url.expose(), tokio_postgres::NoTls).await.unwrap();
            tokio::spawn(connection);
            client.execute("INSERT INTO mo_router_schema VALUES (1000)", &[]).await.unwrap();
        }
    }
    let error = format!("{:#}", Store::open(&home.settings).await.unwrap_err());
    assert!(error.contains("newer mo-router (schema version 1000"), "{error}");
}

#[tokio::test]
async fn a_database_of_the_first_version_is_brought_up_to_date() {
    let home = Home::postgres();
    let store = home.open().await;
    accept(&store, [delayed("a", at(1))]).await;
    home.sql("DELETE FROM mo_router_schema WHERE version > 1").await;
    home.sql("DROP INDEX mo_router_delayed_put_off").await;
    home.sql("ALTER TABLE mo_router_delayed RESET (autovacuum_vacuum_scale_factor)").await;
    assert_eq!(stored(&home.open().await).await, ["a"]);
    let tuned = "SELECT FROM pg_class WHERE relname = 'mo_router_delayed'
                 AND reloptions @> ARRAY['autovacuum_vacuum_scale_factor=0.02']";
    assert_eq!(home.sql(tuned).await, 1);
}

#[tokio::test]
async fn one_router_at_a_time_releases_a_file() {
    let home = Home::sqlite();
    let store = home.open().await;
    accept(&store, [delayed("a", at(1))]).await;
    let clock = Clock::starting_at(at(10));
    let mut router = Router::start(&store, &clock);
    let (token, message) = router.next().await;
    let second = Router::start(&store, &clock);
    let error = within(second.task).await.unwrap().unwrap_err();
    assert!(error.to_string().contains("being released already"), "{error:#}");
    router.confirm(token, message, Fate::Confirmed);
    router.stop().await;
    Router::start(&store, &clock).stop().await;
}

#[tokio::test]
async fn a_link_to_a_file_is_no_second_file() {
    let home = Home::sqlite();
    let settings::StoreUrl::Sqlite(file) = &home.settings else { unreachable!() };
    let _owner = Store::wait_for(&home.settings, &Health::default()).await.unwrap();
    let link = file.with_file_name("link.db");
    std::os::unix::fs::symlink(file, &link).unwrap();
    let other = Store::open(&settings::StoreUrl::Sqlite(link)).await.unwrap();
    let router = Router::start(&other, &Clock::starting_at(at(0)));
    let error = within(router.task).await.unwrap().unwrap_err();
    assert!(error.to_string().contains("in use by another mo-router"), "{error:#}");
}

/// As one who may do no more.
#[tokio::test]
async fn to_look_into_a_database_it_is_enough_to_read_it() {
    let server = Server::shared();
    let url = server.database();
    let open = async |url: &str| {
        Store::open(&settings::StoreUrl::Postgres(ServerUrl::postgres(url).unwrap())).await.unwrap()
    };
    accept(&open(&url).await, [delayed("a", at(1))]).await;
    let (server_part, database) = url.rsplit_once('/').unwrap();
    let name = format!("reader_of_{database}");
    let rights =
        format!("CREATE ROLE {name} LOGIN; GRANT SELECT ON ALL TABLES IN SCHEMA public TO {name}");
    server.sql(database, &rights);
    let readers = format!("{}/{database}", server_part.replace("postgres@", &format!("{name}@")));
    assert_eq!(stored(&open(&readers).await).await, ["a"]);
}

async fn thousands_leave_in_order(home: Home) {
    let store = home.open().await;
    let (handle, committing) = delay::accepting(store.clone(), Health::default());
    tokio::spawn(committing);
    accept_through(&handle, 5000).await;
    let mut router = Router::start(&store, &Clock::starting_at(at(10_000)));
    for number in 0..5000 {
        assert_eq!(router.next_arrives().await, number.to_string());
    }
    until_stored(&store, &[]).await;
    router.stop().await;
}

async fn large_messages_are_kept(home: Home) {
    let store = home.open().await;
    let (handle, committing) = delay::accepting(store.clone(), Health::default());
    tokio::spawn(committing);
    let (done, mut committed) = channel();
    let body = bytes::Bytes::from(vec![b'x'; 10 << 20]);
    for number in 0..5 {
        let mut large = delayed(&number.to_string(), at(number));
        large.message.body = body.clone();
        handle.accept(0, large, &done).await;
    }
    for _ in 0..5 {
        within(committed.recv()).await;
    }
    assert_eq!(stored(&store).await, ["0", "1", "2", "3", "4"]);
    let last = store.show(number_of(&store, "4").await).await.unwrap().unwrap();
    assert!(last.delayed.message.body == body);
}

/// As many at once as fit into four claims.
async fn large_messages_are_under_way_a_few_at_a_time(home: Home) {
    let store = home.open().await;
    for number in 0..9 {
        let mut large = delayed(&number.to_string(), at(number));
        large.message.body = vec![b'x'; 10 << 20].into();
        accept(&store, [large]).await;
    }
    let mut router = Router::start(&store, &Clock::starting_at(at(100)));
    let mut under_way = Vec::new();
    for number in 0..8 {
        let (token, message) = router.next().await;
        assert_eq!(id(&message), number.to_string());
        under_way.push((token, message));
    }
    router.shutdown.cancel();
    for (token, message) in under_way {
        router.confirm(token, message, Fate::Confirmed);
    }
    router.stop().await;
    assert_eq!(stored(&store).await, ["8"]);
}

/// Hands in messages due one second after another, the last one first.
async fn accept_through(handle: &Handle, count: u32) {
    let (done, mut committed) = channel();
    for number in (0..count).rev() {
        handle.accept(number.into(), delayed(&number.to_string(), at(number.into())), &done).await;
    }
    let mut tokens = Vec::new();
    while tokens.len() < count as usize {
        within(committed.recv_many(&mut tokens, count as usize)).await;
    }
}
