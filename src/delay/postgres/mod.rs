//! The delay store in a PostgreSQL database, which several routers share.

mod access;
mod cancelling;
mod census;
mod claimer;
mod condition;
mod connection;
mod damaged;
mod doubt;
mod hosts;
mod imported;
mod manage;
mod probe;
mod queue;
mod replication;
mod rows;
mod schema;
mod slots;
mod statements;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Error, Result, anyhow};
use tokio_postgres::error::DbError;

use self::access::Access;
use self::cancelling::{or_cancelled_after, or_cancelled_in};
pub use self::claimer::{Claimer, keep_open};
pub use self::connection::Connection;
pub use self::probe::probe;
use self::queue::Accepted;
pub use self::replication::until_replicated;
use self::slots::{Slot, Slots};
pub use self::statements::DURABLE;
use super::alarm::Alarm;
use super::blame::{Unstorable, blames_data};
use super::offset::Comparison;
use super::record::{Census, Changed, Filter, Import, Overview, Stored, Unreplicated, Unusable};
use crate::event::{Datetime, Delayed};
use crate::settings::ServerUrl;

/// How long the database may take for what a router or a command asks of it; counting or
/// storing millions of messages is none of that.
const DEADLINE: Duration = Duration::from_secs(60);

/// How long a migration may take: it makes indexes of tables with millions of messages.
const MIGRATING: Duration = Duration::from_secs(60 * 60);

/// How many connections are kept for later.
const IDLE: usize = 8;

/// How many connections what people look at takes at a time, what they change, and the count of
/// all messages. The router's own work waits for none of that.
const LOOKING: usize = 4;
const CHANGING: usize = 2;
const COUNTING: usize = 1;

/// The index of ids, which a new row collides with if the sequence is behind.
const IDS: &str = "mo_router_delayed_pkey";

/// Connects to a database other than the store's.
pub async fn connect(url: &str) -> Result<Connection> {
    connection::connect(&connection::access(url)?, Arc::new(Alarm::new())).await
}

/// The store in one database.
#[derive(Debug)]
pub struct Postgres {
    url: ServerUrl,
    access: Access,
    /// Connections that are not in use, nor in a transaction.
    idle: Mutex<Vec<Connection>>,
    looking: Slots,
    changing: Slots,
    counting: Slots,
    alarm: Arc<Alarm>,
}

impl Postgres {
    /// Opens it, and migrates its schema to this version.
    pub async fn open(url: &ServerUrl, alarm: Arc<Alarm>) -> Result<Self> {
        let store = Self::at(url, alarm)?;
        let version = store.version().await?;
        if version == schema::NEWEST {
            // It is only read, so that a router needs no right to create tables.
            return Ok(store);
        }
        if version > 0 {
            let what = format!("migrating from version {version} to {}", schema::NEWEST);
            tracing::info!("{}", store.named(&what));
        }
        let new = store
            .with_connection_for(MIGRATING, None, "cannot migrate", async |client| {
                schema::migrate(client).await
            })
            .await?;
        if new {
            tracing::warn!("{}", store.named("made a new, empty schema in"));
        }
        Ok(store)
    }

    /// Opens it as it is; none if it has no tables.
    pub async fn existing(url: &ServerUrl, alarm: Arc<Alarm>) -> Result<Option<Self>> {
        let store = Self::at(url, alarm)?;
        Ok((store.version().await? > 0).then_some(store))
    }

    /// The version of its schema; 0 if it has no tables.
    async fn version(&self) -> Result<usize> {
        self.with_connection("cannot use", async |client| {
            schema::check_encoding(client).await?;
            schema::look(client).await
        })
        .await
    }

    fn at(url: &ServerUrl, alarm: Arc<Alarm>) -> Result<Self> {
        let access = connection::access(url.expose());
        let access = access.map_err(|error| {
            Unusable::Address(format!("[delay] store {url} cannot be used: {error:#}"))
        })?;
        let [looking, changing, counting] = [LOOKING, CHANGING, COUNTING].map(Slots::new);
        Ok(Self {
            url: url.clone(),
            access,
            idle: Mutex::default(),
            looking,
            changing,
            counting,
            alarm,
        })
    }

    /// Puts right what a router could not work with.
    pub async fn prepare_for_router(&self) -> Result<()> {
        self.with_connection("cannot write to", async |client| queue::advance_ids(client).await)
            .await
    }

    fn named(&self, what: &str) -> String {
        format!("{what} the delay store {}", self.url)
    }

    /// Runs `task` with a connection, which is reused if the task succeeds.
    async fn with_connection<T>(
        &self,
        what: &str,
        task: impl AsyncFnOnce(&mut Connection) -> Result<T>,
    ) -> Result<T> {
        self.with_connection_for(DEADLINE, None, what, task).await
    }

    /// As [`with_connection`](Self::with_connection), once one of the slots is free.
    async fn with_slot<T>(
        &self,
        slots: &Slots,
        what: &str,
        task: impl AsyncFnOnce(&mut Connection) -> Result<T>,
    ) -> Result<T> {
        let slot = slots.take().await.with_context(|| self.named(what))?;
        self.with_connection_for(DEADLINE, Some(slot), what, task).await
    }

    /// As [`with_connection`](Self::with_connection), for what people look at.
    async fn look<T>(&self, task: impl AsyncFnOnce(&mut Connection) -> Result<T>) -> Result<T> {
        self.with_slot(&self.looking, "cannot read", task).await
    }

    /// As [`with_connection`](Self::with_connection), for what may take as long as `limit`.
    async fn with_connection_for<T>(
        &self,
        limit: Duration,
        slot: Option<Slot>,
        what: &str,
        task: impl AsyncFnOnce(&mut Connection) -> Result<T>,
    ) -> Result<T> {
        let mut client = self.connection().await?;
        let token = client.cancel_token();
        let done = or_cancelled_in(slot, &self.access, token, task(&mut client));
        let done = within(limit, done).await;
        let certain = |done| client.doubt.none().map(|()| done);
        let done = done.and_then(certain).with_context(|| self.named(what))?;
        self.put_back(client);
        Ok(done)
    }

    async fn connection(&self) -> Result<Connection> {
        let idle = self.idle().pop();
        match idle {
            Some(client) if !client.is_closed() => Ok(client),
            // The others were probably closed with it.
            _ => {
                self.idle().retain(|client| !client.is_closed());
                let opened = connection::open(&self.access, Arc::clone(&self.alarm));
                opened.await.with_context(|| self.named("cannot reach"))
            }
        }
    }

    /// Keeps a connection for the next one who needs one, unless there are enough.
    fn put_back(&self, client: Connection) {
        // What was in doubt is its user's, and not the next one's.
        client.doubt.take();
        let mut idle = self.idle();
        if idle.len() < IDLE {
            idle.push(client);
        }
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        // A panic cannot leave the list half changed.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub async fn accept(&self, messages: Arc<Vec<Delayed>>) -> Result<Vec<usize>> {
        let client = self.connection().await?;
        let task = async {
            match queue::accept(&client, &messages).await {
                Err(error) if constraint(&error) == Some(IDS) => {
                    queue::advance_ids(&client).await?;
                    queue::accept(&client, &messages).await
                }
                accepted => accepted.map_err(blamed),
            }
        };
        let token = client.cancel_token();
        let (accepted, is_late) = or_cancelled_after(DEADLINE, &self.access, token, task).await;
        let left_out = match accepted {
            Some(Ok(Accepted { left_out, server })) if client.doubt.take() || is_late => {
                Err(Unreplicated { left_out, server }.into())
            }
            Some(accepted) if !is_late => accepted.map(|accepted| accepted.left_out),
            _ => Err(unanswered(DEADLINE)),
        };
        let left_out = left_out.with_context(|| self.named("cannot write to"))?;
        self.put_back(client);
        Ok(left_out)
    }

    /// Waits until a standby that commits wait for has confirmed all that was committed. Gives
    /// which server has.
    pub async fn until_replicated(&self) -> Result<i64> {
        self.with_connection("cannot write to", async |client| until_replicated(client).await).await
    }

    /// Starts to claim due messages.
    pub fn claimer(&self) -> Claimer<'_> {
        Claimer::new(self)
    }

    pub async fn list(
        &self,
        filter: Filter,
        after: Option<i64>,
        limit: usize,
    ) -> Result<Vec<Stored>> {
        self.look(async |client| manage::list(client, &filter, after, limit).await).await
    }

    pub async fn show(&self, id: i64) -> Result<Option<Stored>> {
        self.look(async |client| manage::show(client, id).await).await
    }

    pub async fn page(&self, after: i64, limit: i64) -> Result<Vec<Stored>> {
        self.look(async |client| manage::page(client, after, limit).await).await
    }

    pub async fn count(&self, filter: Filter, bounds: Vec<i64>) -> Result<Census> {
        self.with_slot(&self.counting, "cannot read", async |client| {
            census::count(client, &filter, &bounds).await
        })
        .await
    }

    pub async fn timeline(&self, filter: Filter, bounds: Vec<i64>) -> Result<Census> {
        self.look(async |client| census::count(client, &filter, &bounds).await).await
    }

    pub async fn overview(&self, time: Datetime) -> Result<Overview> {
        self.with_connection("cannot read", async |client| census::overview(client, time).await)
            .await
    }

    pub async fn count_imported(&self, messages: Arc<Vec<Import>>) -> Result<usize> {
        self.with_connection("cannot read", async |client| imported::count(client, &messages).await)
            .await
    }

    pub async fn imported_ids(&self, after: String, limit: u32) -> Result<Vec<String>> {
        self.with_connection("cannot read", async |client| {
            imported::page(client, &after, limit).await
        })
        .await
    }

    pub async fn note_imported(&self, ids: Arc<Vec<String>>) -> Result<()> {
        self.with_connection("cannot write to", async |client| imported::note(client, &ids).await)
            .await
    }

    pub async fn cancel(&self, ids: Vec<i64>) -> Result<Changed> {
        self.change(async |client| manage::cancel(client, &ids).await).await
    }

    pub async fn reschedule(&self, ids: Vec<i64>, due: Datetime) -> Result<Changed> {
        self.change(async |client| manage::reschedule(client, &ids, due).await).await
    }

    pub async fn import(&self, messages: Arc<Vec<Import>>) -> Result<usize> {
        self.change(async |client| imported::import(client, &messages).await.map_err(blamed)).await
    }

    pub async fn end_pauses(&self, latest: Datetime, now: Datetime) -> Result<u64> {
        self.with_connection("cannot write to", async |client| {
            manage::end_pauses(client, latest, now).await
        })
        .await
    }

    /// Changes the store and notifies all routers.
    async fn change<T>(&self, task: impl AsyncFnOnce(&mut Connection) -> Result<T>) -> Result<T> {
        self.with_slot(&self.changing, "cannot write to", async |client| {
            let changed = task(client).await?;
            connection::announce(client).await;
            Ok(changed)
        })
        .await
    }

    /// Asks for the database's time.
    pub async fn compare_clocks(&self) -> Result<Comparison> {
        self.with_connection("cannot read", async |client| compare_clocks(client).await).await
    }

    /// The database's time, for people.
    pub async fn now(&self) -> Result<Datetime> {
        self.look(async |client| Ok(compare_clocks(client).await?.answered)).await
    }
}

async fn compare_clocks(client: &Connection) -> Result<Comparison> {
    let sql = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint";
    let asked = Datetime::now();
    let row = client.query_typed_one(sql, &[]).await?;
    let (answered, received) = (Datetime::from_unix_micros(row.get(0)), Datetime::now());
    Ok(Comparison { asked, answered, received })
}

async fn in_time<T>(task: impl Future<Output = Result<T>>) -> Result<T> {
    within(DEADLINE, task).await
}

async fn within<T>(limit: Duration, task: impl Future<Output = Result<T>>) -> Result<T> {
    let done = tokio::time::timeout(limit, task).await;
    done.unwrap_or_else(|_| Err(unanswered(limit)))
}

fn unanswered(limit: Duration) -> Error {
    anyhow!("the database has not answered within {limit:?}")
}

/// What the database says of an error, if it is one of the database's.
fn database_error(error: &Error) -> Option<&DbError> {
    error.downcast_ref().and_then(tokio_postgres::Error::as_db_error)
}

/// The error as [`Unstorable`], if it is the data's fault.
fn blamed(error: Error) -> Error {
    match database_error(&error) {
        Some(words) if blames_data(words.code().code()) => {
            let detail = words.detail().map(|detail| format!(" ({detail})")).unwrap_or_default();
            Unstorable(format!("{}{detail}", words.message())).into()
        }
        _ => error,
    }
}

/// The constraint that data has violated.
fn constraint(error: &Error) -> Option<&str> {
    database_error(error)?.constraint()
}
