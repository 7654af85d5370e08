//! What can be wrong with a shared store's database, or on the way to it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use mo_router::clock::Clock;
use mo_router::delay::{self, Filter, Import, Store, Unusable};
use mo_router::event::Datetime;
use mo_router::health::{Code, Health};
use mo_router::settings::{ServerUrl, StoreUrl};
use mo_router::transport::Fate::{Confirmed, Nacked};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::{
    Router, accept, at, channel, delayed, done, id, keyed, number_of, stored, until_stored, within,
};
use crate::support::ask_until;
use crate::support::pgbouncer::PgBouncer;
use crate::support::postgres::Server;
use crate::support::proxy::{Fate, Message, Proxy};

/// A database, and its name.
pub(super) fn database(server: &Server) -> (String, String) {
    let url = server.database();
    let name = url.rsplit_once('/').unwrap().1.to_owned();
    (url, name)
}

pub(super) fn at_url(url: &str) -> StoreUrl {
    StoreUrl::Postgres(ServerUrl::postgres(url).unwrap())
}

/// The BEGIN of a claim is cancelled, or never has an effect.
#[tokio::test]
async fn a_claim_without_its_transaction_takes_nothing_out() {
    let server = Server::shared();
    for instead in ["SELECT 1/0", "SELECT 1"] {
        let (_, name) = database(&server);
        let (harmful, harmed) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicU32::new(0)));
        let (active, count) = (Arc::clone(&harmful), Arc::clone(&harmed));
        let judge = move |message: &Message| match message.query() {
            Some(query) if query.starts_with("BEGIN;") && active.load(Relaxed) => {
                count.fetch_add(1, Relaxed);
                Fate::Ask(instead)
            }
            _ => Fate::Pass,
        };
        let proxy = Proxy::start(server.folder(), Box::new(judge));
        let store = Store::open(&at_url(&proxy.url(&name))).await.unwrap();
        accept(&store, (0..300).map(|number| delayed(&number.to_string(), at(number)))).await;
        let mut router = Router::start(&store, &Clock::starting_at(at(1000)));
        ask_until("claims to fail", || async { (harmed.load(Relaxed) > 2).then_some(()) }).await;
        assert_eq!(stored(&store).await.len(), 300, "{instead}");
        harmful.store(false, Relaxed);
        for number in 0..300 {
            assert_eq!(router.next_arrives().await, number.to_string());
        }
        router.stop().await;
    }
}

/// Whatever the database says of commits, and of transactions that are idle.
#[tokio::test]
async fn transactions_ask_for_what_the_promises_need() {
    let server = Server::shared();
    let (url, name) = database(&server);
    server.sql("postgres", &format!("ALTER DATABASE {name} SET synchronous_commit = off"));
    let store = Store::open(&at_url(&url)).await.unwrap();
    server.sql(
        &name,
        "CREATE TABLE noted (what text, synchronous text, idle text);
         CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             INSERT INTO noted VALUES (TG_OP, current_setting('synchronous_commit'),
                 current_setting('idle_in_transaction_session_timeout'));
             RETURN NULL;
         END $$;
         CREATE TRIGGER note AFTER INSERT OR UPDATE OR DELETE ON mo_router_delayed
             FOR EACH STATEMENT EXECUTE FUNCTION note()",
    );
    let noted = |what: &str| {
        let sql = "SELECT DISTINCT synchronous, idle FROM noted WHERE what = ";
        server.sql(&name, &format!("{sql}'{what}'; DELETE FROM noted"))
    };
    accept(&store, [delayed("a", at(1))]).await;
    assert_eq!(noted("INSERT"), "on|0");
    accept(&store, [keyed("b", at(2), "k")]).await;
    assert_eq!(noted("INSERT"), "on|0");
    let mut router = Router::start(&store, &Clock::starting_at(at(10)));
    assert_eq!([router.next_arrives().await, router.next_arrives().await], ["a", "b"]);
    router.stop().await;
    // A router that is frozen does not keep its claim.
    assert_eq!(noted("DELETE"), "off|2min");

    // What people are told is so.
    let import = Import { id: "c".into(), delayed: delayed("c", at(3)) };
    assert_eq!(store.import(Arc::new(vec![import])).await.unwrap(), 1);
    assert_eq!(noted("INSERT"), "on|0");
    let c = number_of(&store, "c").await;
    assert_eq!(store.reschedule(vec![c], at(4)).await.unwrap(), done(&[c]));
    assert_eq!(noted("UPDATE"), "on|0");
    assert_eq!(store.cancel(vec![c]).await.unwrap(), done(&[c]));
    assert_eq!(noted("DELETE"), "on|0");
}

/// The server ends a claim's transaction that has been idle for too long.
#[tokio::test]
async fn a_claim_that_takes_too_long_is_released() {
    let server = Server::shared();
    let (url, name) = database(&server);
    let store = Store::open(&at_url(&url)).await.unwrap();
    accept(&store, [delayed("a", at(1))]).await;
    let mut router = Router::start(&store, &Clock::starting_at(at(10)));
    let (first, message) = router.next().await;
    // As the server does when the time is over.
    let ended = format!(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
         WHERE datname = '{name}' AND state = 'idle in transaction'"
    );
    assert_eq!(server.sql("postgres", &ended), "1");
    let (second, repeat) = router.next().await;
    assert_eq!(id(&repeat), "a", "it is due again, for whichever router comes first");
    router.confirm(first, message, Confirmed);
    router.confirm(second, repeat, Confirmed);
    until_stored(&store, &[]).await;
    router.stop().await;
}

/// A fault of the disk: what is long of a row is no longer there.
#[tokio::test]
async fn a_row_that_the_server_cannot_read_stops_nothing_else() {
    let server = tokio::task::spawn_blocking(Server::start).await.unwrap();
    let (url, name) = database(&server);
    let store = Store::open(&at_url(&url)).await.unwrap();
    let mut large = delayed("large", at(2));
    let random = (0..10_000).flat_map(|_| uuid::Uuid::new_v4().into_bytes());
    large.message.body = random.collect::<Vec<_>>().into();
    accept(&store, [delayed("a", at(1)), large, delayed("b", at(3)), delayed("c", at(4))]).await;
    store.close().await;
    let file = server.sql(
        &name,
        "SELECT pg_relation_filepath(reltoastrelid) FROM pg_class WHERE relname = 'mo_router_delayed'",
    );
    server.sql(&name, "CHECKPOINT");
    server.crash();
    let file = server.folder().join("data").join(file);
    let length = std::fs::metadata(&file).unwrap().len();
    assert!(length > 100_000, "the body stands beside its row: {length}");
    std::fs::write(&file, vec![0; length as usize]).unwrap();
    server.restart();

    let store = Store::open(&at_url(&url)).await.unwrap();
    let mut router = Router::start(&store, &Clock::starting_at(at(10)));
    for expected in ["a", "b", "c"] {
        assert_eq!(router.next_arrives().await, expected);
    }
    until_stored(&store, &["large"]).await;
    router.stop().await;
    let number = number_of(&store, "large").await;
    let shown = store.show(number).await.unwrap().unwrap();
    assert!(shown.damage.is_some_and(|damage| damage.contains("cannot be read")));
    let mut lines = Vec::new();
    assert_eq!(delay::export::export(&store, &mut lines).await.unwrap(), (1, 1));
    assert_eq!(store.cancel(vec![number]).await.unwrap().done, [number]);
    assert_eq!(stored(&store).await, [""; 0]);
}

/// Waits until of so many sessions in a database this is so.
async fn until_sessions(server: &Server, database: &str, is_so: &str, count: &str) {
    let sql =
        format!("SELECT count(*) FROM pg_stat_activity WHERE datname = '{database}' AND {is_so}");
    let asked = || async { (server.sql("postgres", &sql) == count).then_some(()) };
    ask_until(&format!("{count} sessions of which {is_so}"), asked).await;
}

/// A broker that blocks for long: what is on its way to it is not claimed again meanwhile.
#[tokio::test]
async fn a_claim_that_waits_for_the_broker_is_kept() {
    let server = Server::shared();
    let (url, name) = database(&server);
    let store = Store::open(&at_url(&url)).await.unwrap();
    accept(&store, [delayed("a", at(1))]).await;
    let mut router = Router::start(&store, &Clock::starting_at(at(10)));
    let (token, outgoing) = router.next().await;
    let kept = "state = 'idle in transaction' AND query = 'SELECT 1'";
    until_sessions(&server, &name, kept, "1").await;
    router.confirm(token, outgoing, Confirmed);
    until_stored(&store, &[]).await;
    router.stop().await;
}

/// While somebody has locked the table, as `VACUUM FULL` does.
#[tokio::test]
async fn what_nobody_waits_for_any_more_is_cancelled() {
    let server = Server::shared();
    let (url, name) = database(&server);
    let store = Store::open(&at_url(&url)).await.unwrap();
    accept(&store, [delayed("a", at(1))]).await;
    let a = number_of(&store, "a").await;
    let (locker, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    locker.batch_execute("BEGIN; LOCK TABLE mo_router_delayed").await.unwrap();

    let until_waiting =
        async |count: &str| until_sessions(&server, &name, "wait_event_type = 'Lock'", count).await;
    tokio::select! {
        _ = store.count(Filter::default(), at(1)) => panic!("the table is locked"),
        _ = store.cancel(vec![a]) => panic!("the table is locked"),
        () = until_waiting("2") => {}
    }
    until_waiting("0").await;
    locker.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(stored(&store).await, ["a"]);
}

/// A server whose commits wait for a standby that is not there, and a message that is stored on it
/// alone. The router has given up waiting, or an administrator has had it do so; and PostgreSQL
/// said then that it had committed.
async fn stored_here_only(
    by_administrator: bool,
) -> (Server, String, Store, UnboundedReceiver<delay::Answer>) {
    let server = tokio::task::spawn_blocking(Server::start).await.unwrap();
    let (url, name) = database(&server);
    // PostgreSQL's warning is heard all the same.
    server.sql("postgres", &format!("ALTER DATABASE {name} SET client_min_messages = error"));
    let health = Health::default();
    let store = Store::wait_for(&at_url(&url), &health).await.unwrap();
    standby(&server, "nobody").await;
    let (handle, committing) = delay::accepting(store.clone(), health.clone());
    tokio::spawn(committing);
    let (tell, mut told) = channel();
    handle.accept(1, delayed("a", at(1)), &tell).await;
    if by_administrator {
        let cancel = "SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity
                      WHERE wait_event = 'SyncRep'";
        ask_until("a commit that waits", || async {
            (server.sql("postgres", cancel) == "1").then_some(())
        })
        .await;
    }
    ask_until("the store to say why", || async {
        let reasons = health.reasons();
        reasons.iter().any(|reason| reason.text.contains("standby")).then_some(())
    })
    .await;
    assert!(told.try_recv().is_err(), "it may be lost with the server");
    (server, name, store, told)
}

/// Sets which standby commits wait for.
pub(super) async fn standby(server: &Server, name: &str) {
    server.sql("postgres", &format!("ALTER SYSTEM SET synchronous_standby_names = '{name}'"));
    server.sql("postgres", "SELECT pg_reload_conf()");
    let is_set = || async {
        let waits = "SELECT current_setting('synchronous_standby_names')";
        (server.sql("postgres", waits) == name).then_some(())
    };
    ask_until("the setting", is_set).await;
}

#[tokio::test]
async fn what_waits_for_a_standby_is_stored_once() {
    let (server, name, store, mut told) = stored_here_only(false).await;
    standby(&server, "").await;
    assert!(within(told.recv()).await.unwrap().refused.is_none());
    assert_eq!(stored(&store).await, ["a"]);
    assert_eq!(server.sql(&name, "SELECT count(*) FROM mo_router_delayed"), "1");
}

/// The server is lost, and a standby takes over that had not got the message.
#[tokio::test]
async fn what_no_standby_has_got_is_stored_on_the_one_that_takes_over() {
    let (server, name, store, mut told) = stored_here_only(true).await;
    server.sql(&name, "SET synchronous_commit = local; DELETE FROM mo_router_delayed");
    server.crash();
    std::fs::write(server.folder().join("data/standby.signal"), "").unwrap();
    server.restart();
    server.sql("postgres", "SELECT pg_promote()");
    standby(&server, "").await;
    assert!(within(told.recv()).await.unwrap().refused.is_none());
    assert_eq!(stored(&store).await, ["a"]);
}

#[tokio::test]
async fn ids_that_are_behind_the_rows_are_put_right() {
    let server = Server::shared();
    let (url, name) = database(&server);
    let store = Store::open(&at_url(&url)).await.unwrap();
    accept(&store, (0..20).map(|number| delayed(&number.to_string(), at(number)))).await;
    let behind = "ALTER TABLE mo_router_delayed ALTER COLUMN id RESTART WITH 1";
    server.sql(&name, behind);
    // While a router runs, and before one does.
    accept(&store, [delayed("while", at(30))]).await;
    server.sql(&name, behind);
    Store::wait_for(&at_url(&url), &Health::default()).await.unwrap();
    let next = server.sql(&name, "SELECT nextval('mo_router_delayed_id_seq')");
    assert!(next.parse::<u32>().unwrap() > 21, "{next}");
    assert_eq!(stored(&store).await.len(), 21);
}

/// As `docs/delay-store.md` has it: into the database that was dumped, over what is there.
#[tokio::test]
async fn a_dump_is_restored() {
    let server = Server::shared();
    let (url, name) = database(&server);
    let store = Store::open(&at_url(&url)).await.unwrap();
    accept(&store, [delayed("a", at(1)), keyed("b", at(2), "k")]).await;
    let dump = tempfile::NamedTempFile::new().unwrap();
    let dump = dump.path().to_str().unwrap();
    server.run("pg_dump", &["--format=custom", "--file", dump, &name]);
    accept(&store, [keyed("newer", at(3), "k"), delayed("c", at(4))]).await;
    store.close().await;
    server.run("pg_restore", &["--clean", "--if-exists", "--dbname", &name, dump]);

    let store = Store::wait_for(&at_url(&url), &Health::default()).await.unwrap();
    assert_eq!(stored(&store).await, ["a", "b"]);
    accept(&store, [delayed("d", at(5))]).await;
    let mut router = Router::start(&store, &Clock::starting_at(at(10)));
    for expected in ["a", "b", "d"] {
        assert_eq!(router.next_arrives().await, expected);
    }
    router.stop().await;
}

#[tokio::test]
async fn a_database_that_is_not_utf_8_is_refused() {
    let server = Server::shared();
    let (url, name) = database(&server);
    let latin = "ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0";
    server.sql("postgres", &format!("CREATE DATABASE {name}_latin {latin}"));
    let (url, health) = (at_url(&format!("{url}_latin")), Health::default());
    let error = within(Store::wait_for(&url, &health)).await.unwrap_err();
    assert!(error.is::<Unusable>() && format!("{error:#}").contains("LATIN1"), "{error:#}");
}

/// Lets the clock of a database differ from this machine's.
fn shift_clock(server: &Server, name: &str, by: &str) {
    let of = |function: &str, kind: &str| {
        format!(
            "CREATE FUNCTION public.{function}() RETURNS timestamptz LANGUAGE sql {kind}
                 AS $$ SELECT pg_catalog.{function}() + interval '{by}' $$;"
        )
    };
    server.sql(name, &(of("clock_timestamp", "VOLATILE") + &of("now", "STABLE")));
    server.sql("postgres", &format!("ALTER DATABASE {name} SET search_path = public, pg_catalog"));
}

fn in_minutes(minutes: i64) -> Datetime {
    let micros = Datetime::now().unix_micros() + minutes * 60_000_000;
    Datetime::from_unix_micros(micros)
}

/// The router's clock is ten minutes ahead of the database's, whether it knows that or not.
#[tokio::test]
async fn a_router_whose_clock_is_ahead_sends_nothing_early() {
    let server = Server::shared();
    let (url, name) = database(&server);
    shift_clock(&server, &name, "-10 minutes");
    let url = at_url(&url);
    for store in [Store::open(&url).await, Store::wait_for(&url, &Health::default()).await] {
        let store = store.unwrap();
        accept(&store, [delayed("ahead", in_minutes(-5)), delayed("late", Datetime::NO_DATE)])
            .await;
        let mut router = Router::start(&store, &Clock::system());
        let late = number_of(&store, "late").await;
        assert_eq!(store.send_now(vec![late]).await.unwrap(), done(&[late]));
        assert_eq!(router.next_arrives().await, "late");
        router.stop().await;
        assert_eq!(stored(&store).await, ["ahead"]);
        let overdue = Filter { until: Some(store.now().await.unwrap()), ..Filter::default() };
        assert_eq!(store.list(overdue, None, 10).await.unwrap(), []);
        store.cancel(vec![number_of(&store, "ahead").await]).await.unwrap();
    }
}

/// The database's clock is ten minutes ahead.
#[tokio::test]
async fn messages_leave_by_the_databases_clock() {
    let server = Server::shared();
    let (url, name) = database(&server);
    shift_clock(&server, &name, "10 minutes");
    let health = Health::default();
    let store = Store::wait_for(&at_url(&url), &health).await.unwrap();
    accept(&store, [delayed("due", in_minutes(5)), delayed("ahead", in_minutes(30))]).await;
    let watching = tokio::spawn(delay::watch(store.clone(), Clock::system()));
    ask_until("the clocks to be compared", || async { health.has(Code::ClockWrong).then_some(()) })
        .await;
    let mut router = Router::start(&store, &Clock::system());
    assert_eq!(router.next_arrives().await, "due");
    router.stop().await;
    watching.abort();
    assert_eq!(stored(&store).await, ["ahead"]);
}

/// pgbouncer gives each transaction another connection.
#[tokio::test]
async fn through_a_pooler_in_transaction_mode() {
    let server = Server::shared();
    let (_, name) = database(&server);
    let pooler = PgBouncer::start(&server);
    let url = at_url(&pooler.url(&name));
    let store = Store::wait_for(&url, &Health::default()).await.unwrap();
    let watching = tokio::spawn(delay::watch(store.clone(), Clock::system()));
    for first in (0..2000).step_by(100) {
        let batch = (first..first + 100).map(|number| delayed(&number.to_string(), at(number)));
        accept(&store, batch).await;
    }
    accept(&store, [keyed("keyed", at(3000), "k")]).await;
    let people = Store::open(&url).await.unwrap();
    assert_eq!(people.list(Filter::default(), None, 5).await.unwrap().len(), 5);
    let mut router = Router::start(&store, &Clock::starting_at(at(2999)));
    for number in 0..2000 {
        assert_eq!(router.next_arrives().await, number.to_string());
    }
    router.stop().await;
    watching.abort();
    assert_eq!(stored(&people).await, ["keyed"]);
}

/// A table is locked, and the server takes twenty connections.
#[tokio::test]
async fn what_people_look_at_leaves_the_router_its_connections() {
    let settings = ["max_connections=20".to_owned()];
    let starting = tokio::task::spawn_blocking(move || Server::start_with(&settings, None));
    let server = starting.await.unwrap();
    let (url, name) = database(&server);
    let health = Health::default();
    let store = Store::wait_for(&at_url(&url), &health).await.unwrap();
    let (locking, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    locking.batch_execute("BEGIN; LOCK TABLE mo_router_delayed").await.unwrap();
    let looking = |people: usize| {
        let mut looking = JoinSet::new();
        for number in 0..people {
            let store = store.clone();
            looking.spawn(async move {
                match number % 4 {
                    0 => store.list(Filter::default(), None, 10).await.map(drop),
                    1 => store.show(1).await.map(drop),
                    2 => store.timeline(Filter::default(), &[at(1)]).await.map(drop),
                    _ => store.page(0, 10).await.map(drop),
                }
            });
        }
        looking
    };
    let connections = |which: &str| -> u32 {
        let sql = format!(
            "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' {which}"
        );
        server.sql(&name, &sql).parse().unwrap()
    };
    let some_wait = || async {
        let waiting = connections("AND wait_event_type = 'Lock'");
        (waiting > 0).then_some(())
    };
    // They hang up.
    for _ in 0..5 {
        let mut gone = looking(30);
        ask_until("them to wait for the table", some_wait).await;
        gone.shutdown().await;
        let open = connections("");
        assert!(open <= 15, "{open}");
    }
    let mut looking = looking(100);
    ask_until("them to wait for the table", some_wait).await;
    let (handle, committing) = delay::accepting(store.clone(), health.clone());
    tokio::spawn(committing);
    let (tell, mut told) = channel();
    handle.accept(1, delayed("a", Datetime::NO_DATE), &tell).await;
    for number in 0..96 {
        let error = within(looking.join_next()).await.unwrap().unwrap().unwrap_err();
        let error = format!("{error:#}");
        assert!(error.contains("busy for 10s with what others ask"), "{error}");
        if number % 16 == 0 {
            let open = connections("");
            assert!(open <= 15, "{open}");
        }
    }
    locking.batch_execute("ROLLBACK").await.unwrap();
    assert!(within(told.recv()).await.unwrap().refused.is_none());
    assert!(!health.has(Code::StoreUnavailable), "{:?}", health.reasons());
    while let Some(looked) = within(looking.join_next()).await {
        looked.unwrap().unwrap();
    }
}

/// As on a full disk, the database takes no row, and so none back that was nacked.
#[tokio::test]
async fn what_is_claimed_with_what_cannot_be_put_back_is_sent_ever_less_often() {
    let server = Server::shared();
    let (url, name) = database(&server);
    let health = Health::default();
    let store = Store::wait_for(&at_url(&url), &health).await.unwrap();
    accept(&store, [delayed("good", at(1)), delayed("nacked", at(2))]).await;
    server.sql(
        &name,
        "CREATE TABLE is_full AS SELECT TRUE;
         CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             IF EXISTS (SELECT FROM is_full) THEN
                 RAISE 'the test is full' USING ERRCODE = '53100';
             END IF;
             RETURN NEW;
         END $$;
         CREATE TRIGGER refuse BEFORE INSERT ON mo_router_delayed
             FOR EACH ROW EXECUTE FUNCTION refuse()",
    );
    let mut router = Router::start(&store, &Clock::starting_at(at(10)));
    let answer = async |router: &mut Router| {
        let (token, outgoing) = router.next().await;
        let is_good = id(&outgoing) == "good";
        let nacked = Nacked("its queue is full".into());
        router.confirm(token, outgoing, if is_good { Confirmed } else { nacked });
        is_good
    };
    let (begun, mut sent) = (Instant::now(), 0);
    while sent < 8 {
        sent += u32::from(answer(&mut router).await);
    }
    // The pauses are at least half of 0.1, 0.2, 0.4, 0.8, 1.6, 3.2 and 5 seconds. A claim that is being
    // made while another one fails may have what that one gives back.
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(1550), "{took:?}");
    let reasons = health.reasons();
    assert_eq!(reasons[0].code, Code::StoreUnavailable, "{reasons:?}");
    assert!(reasons[0].text.contains("the test is full"), "{reasons:?}");
    assert!(store.stats().errors.load(Relaxed) >= 7);

    server.sql(&name, "DELETE FROM is_full");
    let settled = ask_until("the claim to be settled", || async {
        (stored(&store).await == ["nacked"] && health.reasons().is_empty()).then_some(())
    });
    let answering = async {
        loop {
            answer(&mut router).await;
        }
    };
    tokio::select! {
        () = settled => {}
        () = answering => {}
    }
    router.stop().await;
}
