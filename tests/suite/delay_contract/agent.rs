//! mo-delay-agent's database, and what moves between it and a store.

use std::cell::RefCell;
use std::time::Duration;

use mo_router::delay::import::Target;
use mo_router::delay::import::agent::{Agent, Options};

use super::database::{database, standby};
use super::{Home, accept, at, delayed, stored, within};
use crate::support::PATIENCE;
use crate::support::postgres::Server;

/// As the agent makes it.
const TABLE: &str =
    "CREATE TABLE messages (id serial, message text, topic text, produce_at timestamptz);";

fn options() -> Options {
    Options { exchange: "out".into(), plugin: "p".into() }
}

/// What leaves the store for the agent's table is there, whatever its database says of commits.
#[tokio::test]
async fn what_moves_to_the_agent_is_there_to_stay() {
    let (server, home) = (Server::shared(), Home::sqlite());
    let (url, name) = database(&server);
    server.sql("postgres", &format!("ALTER DATABASE {name} SET synchronous_commit = off"));
    server.sql(&name, TABLE);
    server.sql(
        &name,
        "CREATE TABLE noted (synchronous text);
         CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             INSERT INTO noted VALUES (current_setting('synchronous_commit'));
             RETURN NULL;
         END $$;
         CREATE TRIGGER note AFTER INSERT ON messages FOR EACH STATEMENT EXECUTE FUNCTION note()",
    );
    let store = home.open().await;
    accept(&store, [delayed("a", at(1))]).await;
    let agent = Agent::connect(&url).await.unwrap();
    let moved = agent.move_back(&store, &options(), None, false, |_| ()).await.unwrap();
    assert_eq!((moved.moved, stored(&store).await.len()), (1, 0));
    let there = server.sql(&name, "SELECT message, synchronous FROM messages, noted");
    assert_eq!(there, "a|on");
}

/// It waits for a standby that is not there; run again, there is nothing to write any more.
#[tokio::test]
async fn what_the_agents_database_has_not_everywhere_stays_in_the_store() {
    let server = tokio::task::spawn_blocking(Server::start).await.unwrap();
    let (home, (url, name)) = (Home::sqlite(), database(&server));
    server.sql(&name, TABLE);
    let store = home.open().await;
    let agent = Agent::connect(&url).await.unwrap();
    agent.move_back(&store, &options(), None, false, |_| ()).await.unwrap();
    standby(&server, "nobody").await;
    accept(&store, [delayed("a", at(1))]).await;
    for _ in 0..3 {
        let agent = Agent::connect(&url).await.unwrap().with_deadline(Duration::from_secs(1));
        let moved = within(agent.move_back(&store, &options(), None, false, |_| ())).await;
        assert!(moved.is_err(), "{moved:?}");
        assert_eq!(stored(&store).await, ["a"]);
    }
    standby(&server, "").await;
    let moved = agent.move_back(&store, &options(), None, false, |_| ()).await.unwrap();
    assert_eq!((moved.moved, stored(&store).await.len()), (1, 0));
    assert_eq!(server.sql(&name, "SELECT message FROM messages"), "a");
}

/// Somebody has locked the agent's table.
#[tokio::test]
async fn an_agents_database_that_does_not_answer_is_told() {
    let (server, home) = (Server::shared(), Home::sqlite());
    let (url, name) = database(&server);
    server.sql(&name, TABLE);
    let (locker, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    locker.batch_execute("BEGIN; LOCK TABLE messages").await.unwrap();
    let agent = async |deadline| Agent::connect(&url).await.unwrap().with_deadline(deadline);
    let (hasty, store) = (agent(Duration::from_millis(200)).await, home.open().await);
    for error in [
        within(hasty.count()).await.unwrap_err(),
        within(hasty.import(Target::DryRun(None), &options(), |_| ())).await.unwrap_err(),
        within(hasty.move_back(&store, &options(), None, false, |_| ())).await.unwrap_err(),
    ] {
        assert!(format!("{error:#}").contains("has not answered within 200ms"), "{error:#}");
    }
    locker.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(agent(PATIENCE).await.count().await.unwrap(), 0);
}

/// Whatever their number, no more is read at a time than is stored together.
#[tokio::test]
async fn the_agents_large_messages_are_imported_a_few_at_a_time() {
    let server = Server::shared();
    let (url, name) = database(&server);
    server.sql(&name, TABLE);
    server.sql(
        &name,
        "INSERT INTO messages (message, topic, produce_at)
         SELECT repeat('x', 1 << 20), 'employee.it.create', '2999-01-01' FROM generate_series(1, 40);
         INSERT INTO messages (topic) VALUES ('without a message')",
    );
    let agent = Agent::connect(&url).await.unwrap();
    let batches = RefCell::new(Vec::new());
    let progress = |count| batches.borrow_mut().push(count);
    let imported = agent.import(Target::DryRun(None), &options(), progress).await.unwrap();
    assert_eq!((imported.read, imported.added, imported.set_aside), (41, 40, 1));
    assert_eq!(*batches.borrow(), [16, 16, 9]);
}
