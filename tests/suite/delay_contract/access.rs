//! How a shared store's database is reached, and with which rights.

use std::net::TcpListener;
use std::sync::Arc;

use mo_router::clock::Clock;
use mo_router::delay::{Filter, Import, Store, Unusable, probe};
use mo_router::event::Datetime;
use mo_router::health::Health;
use mo_router::settings::StoreUrl;

use super::database::{at_url, database};
use super::{Router, accept, at, delayed, done, keyed, number_of, stored, within};
use crate::support::postgres::Server;

/// The lines of the page that give a router its rights, for another user.
fn rights(user: &str) -> Vec<String> {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/delay-store.md");
    let page = std::fs::read_to_string(page).unwrap();
    let lines = page.lines().filter(|line| line.starts_with("GRANT "));
    let lines: Vec<String> =
        lines.map(|line| line.replace("TO mo_router;", &format!("TO {user};"))).collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    lines
}

/// What `check --connect` says of a database.
async fn probed(url: &StoreUrl) -> String {
    match probe::reach(url).await {
        Ok(found) => found.unwrap(),
        Err(error) => format!("{error:#}"),
    }
}

/// One who owns nothing, and what the page gives.
#[tokio::test]
async fn the_rights_that_the_page_names_are_enough_for_a_router() {
    let server = Server::shared();
    let (owners, name) = database(&server);
    let user = format!("router_of_{name}");
    server.sql(&name, &format!("CREATE ROLE {user} LOGIN"));
    // As it is since PostgreSQL 15.
    server.sql(&name, "REVOKE CREATE ON SCHEMA public FROM PUBLIC");
    let url = at_url(&owners.replace("postgres@", &format!("{user}@")));
    let said = probed(&url).await;
    assert!(said.contains("no right to CREATE on the schema"), "{said}");

    // Rows are there, so that their ids are looked at.
    accept(&Store::open(&at_url(&owners)).await.unwrap(), [delayed("first", at(1))]).await;
    let said = probed(&url).await;
    assert!(said.contains("SELECT on table mo_router_schema"), "{said}");
    let mut expected = vec!["first".to_owned()];
    for (round, grant) in rights(&user).into_iter().enumerate() {
        server.sql(&name, &grant);
        let said = probed(&url).await;
        // Without the last of them, a router only warns.
        let wanted = if round == 0 { "USAGE on the sequence" } else { "has the router's tables" };
        assert!(said.contains(wanted), "{said}");

        let store = within(Store::wait_for(&url, &Health::default())).await.unwrap();
        accept(&store, [delayed("a", at(2)), delayed("cancelled", at(3))]).await;
        accept(&store, [keyed("old", at(4), "k")]).await;
        accept(&store, [keyed("new", at(4), "k")]).await;
        let import = Import { id: format!("{round}"), delayed: delayed("imported", at(5)) };
        assert_eq!(store.import(Arc::new(vec![import])).await.unwrap(), 1);
        let cancelled = number_of(&store, "cancelled").await;
        assert_eq!(store.cancel(vec![cancelled]).await.unwrap(), done(&[cancelled]));
        expected.extend(["a", "new", "imported"].map(str::to_owned));
        let mut router = Router::start(&store, &Clock::starting_at(at(10)));
        for id in expected.drain(..) {
            assert_eq!(router.next_arrives().await, id);
        }
        router.stop().await;
        assert_eq!(store.count(Filter::default(), at(0)).await.unwrap().total, 0);
    }
}

#[tokio::test]
async fn a_probe_names_what_a_start_would_refuse() {
    let server = Server::shared();
    let (owners, name) = database(&server);
    let user = format!("router_of_{name}");
    let url = at_url(&owners.replace("postgres@", &format!("{user}@")));
    drop(Store::open(&at_url(&owners)).await.unwrap());
    server.sql(&name, &format!("CREATE ROLE {user} LOGIN"));
    for grant in rights(&user) {
        server.sql(&name, &grant);
    }
    let (revoke, grant) = (
        format!("REVOKE INSERT ON mo_router_imported FROM {user}"),
        format!("GRANT INSERT ON mo_router_imported TO {user}"),
    );
    for (change, said) in [
        ("SELECT 1", "has the router's tables"),
        (revoke.as_str(), "INSERT on table mo_router_imported"),
        (grant.as_str(), "has the router's tables"),
        ("DELETE FROM mo_router_schema WHERE version > 1", "does not own them"),
        ("INSERT INTO mo_router_schema VALUES (1000)", "newer mo-router (schema version 1000"),
    ] {
        server.sql(&name, change);
        let said_now = probed(&url).await;
        assert!(said_now.contains(said), "{change}: {said_now}");
    }
}

/// Whoever only looks makes no tables.
#[tokio::test]
async fn to_look_makes_nothing() {
    let server = Server::shared();
    let (url, name) = database(&server);
    assert!(Store::existing(&at_url(&url)).await.unwrap().is_none());
    assert_eq!(server.sql(&name, "SELECT to_regclass('mo_router_schema') IS NULL"), "t");
    accept(&Store::open(&at_url(&url)).await.unwrap(), [delayed("a", Datetime::NO_DATE)]).await;
    let found = Store::existing(&at_url(&url)).await.unwrap().unwrap();
    assert_eq!(stored(&found).await, ["a"]);
}

/// The first accepts connections and says nothing, the second takes no writes, and the third
/// is not there.
#[tokio::test]
async fn of_several_hosts_the_one_that_takes_writes_is_used() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let starting = tokio::task::spawn_blocking(|| {
        let settings = ["default_transaction_read_only=on".to_owned()];
        (Server::start_with(&settings, None), Server::start())
    });
    let (reading, writing) = starting.await.unwrap();
    let socket = |server: &Server| server.folder().display().to_string().replace('/', "%2F");
    let hosts = format!(
        "{},{}:5432,%2Fno%2Fsuch%2Ffolder:5432,{}:5432",
        silent.local_addr().unwrap(),
        socket(&reading),
        socket(&writing)
    );
    let asked = "target_session_attrs=primary&connect_timeout=1";
    let url = at_url(&format!("postgres://postgres@{hosts}/postgres?{asked}"));
    let store = within(Store::wait_for(&url, &Health::default())).await.unwrap();
    accept(&store, [delayed("a", at(1))]).await;
    let mut router = Router::start(&store, &Clock::starting_at(at(10)));
    assert_eq!(router.next_arrives().await, "a");
    router.stop().await;
    let tables = "SELECT count(*) FROM pg_tables WHERE tablename = 'mo_router_delayed'";
    assert_eq!(
        (reading.sql("postgres", tables), writing.sql("postgres", tables)),
        ("0".into(), "1".into())
    );
}

#[tokio::test]
async fn an_address_that_nothing_can_be_done_with_is_refused_at_the_start() {
    let server = Server::shared();
    let (url, _) = database(&server);
    for parameter in ["sslcrl=/crl.pem", "hostaddr=1.2.3.4,1.2.3.5", "nonsense=1"] {
        let url = at_url(&format!("{url}?{parameter}"));
        let error = within(Store::wait_for(&url, &Health::default())).await.unwrap_err();
        let (name, _) = parameter.split_once('=').unwrap();
        assert!(error.is::<Unusable>() && error.to_string().contains(name), "{error:#}");
    }
}
