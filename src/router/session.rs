//! One plugin's events, from delivery to settlement, for as long as the
//! connection lasts.
//!
//! The life of an event reads from top to bottom: [`Session::on_delivery`] parses
//! it, [`Session::route`] gives it to the plugin, [`Session::on_answer`] turns the
//! answer into messages, [`Session::leave`] sends them, and [`Session::on_done`]
//! settles the delivery when the last of them has arrived. Between receiving and
//! settling nothing returns early: what fails becomes a retry or a dead letter.

use std::collections::{HashSet, VecDeque};
use std::future::ready;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use chrono_tz::Tz;
use futures::FutureExt;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};
use uuid::Uuid;

use super::answer::{self, Author, Leaving};
use super::lanes::{Answer, Job, Lanes};
use super::later::Agenda;
use super::open::Open;
use super::stats::Stats;
use super::turns::Turns;
use super::version::Version;
use crate::backoff::{Backoff, Policy};
use crate::clock::Clock;
use crate::delay;
use crate::event::{DeadKind, DeadLetter, Delayed, Event, Failure, Incoming, Message, Outgoing};
use crate::transport::{Confirmed, Delivery, Fate, Inbox, Outbox};

/// Settlements are told at the latest when so many have gathered, or an eighth of what
/// may be open if that is less.
const SETTLE_TOGETHER: usize = 128;
/// Events that are taken in a row before anything but confirms is looked at.
const IN_A_ROW: usize = 64;
/// With so many messages under way, their confirms wake the session soon enough to
/// take what has come meanwhile and to tell what was settled. Woken by each delivery
/// it would take them one by one, and waking costs as much as routing; so does an
/// acknowledgement.
const PLENTY: usize = 64;
/// The pauses before an event is tried again.
pub const RETRY_PAUSES: Policy = Policy::new(Duration::from_millis(500), Duration::from_secs(60));
/// The same for a plugin on trial.
const TRIAL_PAUSES: Policy = Policy::new(Duration::from_secs(5), Duration::from_secs(300));
/// The pauses before a refused message is sent again.
const RESEND_PAUSES: Policy = Policy::new(Duration::from_millis(100), Duration::from_secs(10));

/// What a session works with; it outlives the session.
pub struct Context {
    /// The version of the plugin to use, and the settings it was loaded with.
    pub current: watch::Receiver<Version>,
    /// Takes what is not due yet.
    pub delays: delay::Handle,
    /// Tells the time.
    pub clock: Clock,
    /// Where times without an offset are local.
    pub naive_zone: Tz,
    /// Where publications go that name no exchange.
    pub output_exchange: String,
    /// How many times a message may pass a router.
    pub max_hops: u32,
    /// Deliveries that may be open at a time.
    pub max_open: usize,
    /// Whether a plugin that fails on many events in a row is suspended.
    pub may_suspend: bool,
    /// What people see of the plugin.
    pub stats: Arc<Stats>,
    /// Ends the session: nothing more is taken, what is under way is finished.
    pub stop: CancellationToken,
}

/// How a session ended in good order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It was told to stop, or there is no more input.
    Stopped,
    /// The plugin fails on event after event.
    Suspended,
    /// The plugin, on trial, has routed an event.
    Recovered,
}

/// See the module's documentation.
pub struct Session<'a, I: Inbox, O> {
    context: &'a mut Context,
    version: Version,
    author: Author,
    inbox: I,
    outbox: O,
    lanes: Lanes<I::Receipt>,
    /// A version that waits until the lanes have answered all they were given.
    next_version: Option<Version>,
    /// Jobs that are with the lanes.
    routing: usize,
    /// Messages that are with the outbox.
    leaving: usize,
    /// Deliveries that are not settled.
    held: usize,
    open: Open<I::Receipt>,
    /// An event holds up those of its uuid while it is with a lane or to be tried again.
    turns: Turns<Job<I::Receipt>>,
    /// Events that no longer wait.
    unblocked: VecDeque<Job<I::Receipt>>,
    /// Events to be tried again.
    retries: Agenda<Job<I::Receipt>>,
    /// Messages that the broker refused, to be sent again.
    resends: Agenda<(u64, Outgoing)>,
    resend_pause: Backoff,
    /// What the delay store has no room for yet.
    to_store: VecDeque<(u64, Delayed)>,
    committed: mpsc::UnboundedReceiver<u64>,
    commits: mpsc::UnboundedSender<u64>,
    /// The uuids whose events have failed since the last that did not.
    failing: HashSet<Uuid>,
    /// The plugin was suspended: its failures cost its events no attempts, and
    /// the first event that it routes ends the session.
    on_trial: bool,
    /// There is no more input.
    exhausted: bool,
    end: Option<End>,
}

impl<'a, I: Inbox, O: Outbox> Session<'a, I, O>
where
    I::Receipt: 'static,
{
    /// A session on an open inbox and outbox. `on_trial` is for a plugin that was
    /// suspended.
    pub fn new(context: &'a mut Context, inbox: I, outbox: O, on_trial: bool) -> Self {
        let version = context.current.borrow_and_update().clone();
        #[expect(clippy::disallowed_methods, reason = "the prefetch bounds it")]
        let (commits, committed) = mpsc::unbounded_channel();
        Self {
            author: version.author(&context.output_exchange),
            lanes: version.lanes(),
            version,
            context,
            inbox,
            outbox,
            next_version: None,
            routing: 0,
            leaving: 0,
            held: 0,
            open: Open::default(),
            turns: Turns::default(),
            unblocked: VecDeque::new(),
            retries: Agenda::default(),
            resends: Agenda::default(),
            resend_pause: Backoff::new(RESEND_PAUSES),
            to_store: VecDeque::new(),
            committed,
            commits,
            failing: HashSet::new(),
            on_trial,
            exhausted: false,
            end: None,
        }
    }

    /// Routes events until the session ends.
    ///
    /// # Errors
    /// The connection is lost. Everything unsettled will come again.
    pub async fn run(mut self) -> Result<End> {
        let (stop, delays) = (self.context.stop.clone(), self.context.delays.clone());
        loop {
            // First, because it may find that there is nothing left to wait for.
            let all = self.take_what_is_there().await?;
            if self.exhausted && self.held == 0 {
                self.end.get_or_insert(End::Stopped);
            }
            if let Some(end) = self.end {
                self.give_up_refused();
                if self.open.is_empty() && self.routing == 0 && self.next_version.is_none() {
                    self.inbox.close().await;
                    return Ok(end);
                }
            }
            let busy = self.leaving >= PLENTY;
            let (going, taking) = (self.is_going(), self.is_taking() && !(all && busy));
            tokio::select! {
                biased;
                confirmed = self.outbox.confirmed() => self.on_confirmed(confirmed?)?,
                Some(token) = self.committed.recv() => self.on_done(token),
                permit = delays.reserve(), if !self.to_store.is_empty() => {
                    if let Some((token, delayed)) = self.to_store.pop_front() {
                        permit.accept(token, delayed, &self.commits);
                    }
                }
                (job, answer) = self.lanes.answered(), if self.routing > 0 => {
                    self.routing -= 1;
                    self.on_answer(job, answer);
                }
                () = stop.cancelled(), if self.end.is_none() => self.end = Some(End::Stopped),
                Ok(()) = self.context.current.changed() => {
                    let version = self.context.current.borrow_and_update().clone();
                    self.next_version = Some(version);
                }
                () = ready(()), if self.next_version.is_some() && self.routing == 0 => self.swap(),
                // Taken out only here: what a branch awaits is made, and dropped, in every round.
                () = ready(()), if going && !self.unblocked.is_empty() => {
                    if let Some(job) = self.unblocked.pop_front() {
                        self.route(job).await;
                    }
                }
                job = self.retries.next(), if going => self.route(job).await,
                (token, outgoing) = self.resends.next() => self.send(token, outgoing),
                delivery = self.inbox.next(), if taking => self.on_received(delivery?).await,
                () = ready(()), if self.inbox.unsent() > 0 && !busy => self.inbox.flush(),
            }
            if self.inbox.unsent() >= SETTLE_TOGETHER.min(self.context.max_open / 8) {
                self.inbox.flush();
            }
        }
    }

    /// Does what can be done without waiting: confirms that have come, and
    /// deliveries that are there; says whether it took all of them. Under load this
    /// is all that a round consists of, and it costs half of what looking at
    /// everything would. What the deliveries caused is sent together, when confirms
    /// are next waited for.
    async fn take_what_is_there(&mut self) -> Result<bool> {
        while let Some(confirmed) = self.outbox.confirmed().now_or_never() {
            self.on_confirmed(confirmed?)?;
        }
        for _ in 0..IN_A_ROW {
            if !self.is_taking() {
                return Ok(true);
            }
            match self.inbox.next().now_or_never() {
                Some(delivery) => self.on_received(delivery?).await,
                None => return Ok(true),
            }
        }
        Ok(false)
    }

    /// Whether events are routed.
    fn is_going(&self) -> bool {
        self.end.is_none() && self.next_version.is_none()
    }

    /// Whether there is room for another delivery.
    fn is_taking(&self) -> bool {
        self.is_going() && !self.exhausted && self.held < self.context.max_open
    }

    async fn on_received(&mut self, delivery: Option<Delivery<I::Receipt>>) {
        match delivery {
            Some(delivery) => self.on_delivery(delivery).await,
            None => self.exhausted = true,
        }
    }

    /// From here on events go to the new version. Those that the old one failed
    /// on go to it at once.
    fn swap(&mut self) {
        let Some(version) = self.next_version.take() else { return };
        info!(
            plugin = self.author.plugin,
            old = self.author.version,
            new = version.plugin.version,
            "plugin replaced"
        );
        self.unblocked.extend(self.retries.take());
        if self.on_trial || self.end == Some(End::Suspended) {
            self.end = Some(End::Recovered);
        }
        self.author = version.author(&self.context.output_exchange);
        self.lanes = version.lanes();
        self.version = version;
        self.failing.clear();
    }

    /// Reads a delivery as an event, and lets it wait if one of the same uuid is
    /// before it.
    async fn on_delivery(&mut self, delivery: Delivery<I::Receipt>) {
        let Delivery { message, receipt } = delivery;
        self.context.stats.received();
        self.held += 1;
        if !self.version.subscribes_to(&message.routing_key) {
            // Left over from a binding that an older version asked for.
            debug!(
                plugin = self.author.plugin,
                routing_key = message.routing_key,
                "not subscribed to"
            );
            self.context.stats.routed(0);
            return self.settle(receipt);
        }
        let hops = answer::hops(&message);
        if hops > i64::from(self.context.max_hops) {
            let reason = format!(
                "the message has passed the router {hops} times, more than [amqp] max_hops ({}): \
                 publications seem to come back as events",
                self.context.max_hops
            );
            return self.bury(message, 1, receipt, reason);
        }
        match Event::parse(message, self.context.naive_zone) {
            Err(refused) => self.bury(*refused.message, 1, receipt, refused.reason),
            Ok(event) => {
                let job = Job { event, attempt: 1, receipt };
                if let Some(job) = self.turns.take(job.event.uuid, job) {
                    self.route(job).await;
                }
            }
        }
    }

    /// Gives an event to the plugin.
    async fn route(&mut self, job: Job<I::Receipt>) {
        if self.lanes.are_tasks() {
            self.turns.hold(job.event.uuid);
        }
        self.routing += 1;
        if let Some((job, answer)) = self.lanes.route(job).await {
            self.routing -= 1;
            self.on_answer(job, answer);
        }
    }

    /// Decides what becomes of an event.
    fn on_answer(&mut self, job: Job<I::Receipt>, answer: Answer) {
        let uuid = job.event.uuid;
        match answer {
            Ok(publications) => {
                self.on_working();
                let Job { event, attempt, receipt } = job;
                let now = self.context.clock.now();
                match answer::leaving(&self.author, event, publications, now) {
                    Ok(leaving) => self.leave(receipt, leaving),
                    Err(refused) => self.bury(*refused.message, attempt, receipt, refused.reason),
                }
            }
            Err(Failure::Reject(reason)) => {
                self.on_working();
                self.bury_job(job, reason);
            }
            Err(Failure::Retry(reason) | Failure::Broken(reason)) => {
                self.on_failing(uuid, &reason);
                let attempts = self.version.settings.limits.attempts;
                if job.attempt < attempts || self.on_trial || self.end == Some(End::Suspended) {
                    return self.try_again(job);
                }
                self.bury_job(job, format!("{reason} (attempt {attempts} of {attempts})"));
            }
        }
        self.unblocked.extend(self.turns.pass(uuid));
    }

    /// The plugin does its work, whatever it thinks of this event.
    fn on_working(&mut self) {
        self.failing.clear();
        if self.on_trial {
            self.end = Some(End::Recovered);
        }
    }

    /// The plugin has failed; after many in a row that is no fault of the events.
    fn on_failing(&mut self, uuid: Uuid, reason: &str) {
        self.context.stats.failed(reason);
        self.failing.insert(uuid);
        let enough = self.version.settings.limits.suspend_after as usize;
        let may_suspend = self.context.may_suspend && !self.on_trial && self.end.is_none();
        if may_suspend && self.failing.len() >= enough {
            self.end = Some(End::Suspended);
        }
    }

    /// Lets an event pause; meanwhile those of its uuid wait behind it.
    fn try_again(&mut self, mut job: Job<I::Receipt>) {
        job.attempt += 1;
        let pauses = if self.on_trial { TRIAL_PAUSES } else { RETRY_PAUSES };
        #[expect(clippy::disallowed_methods, reason = "no seed has to repeat it")]
        let pause = pauses.pause(job.attempt - 1, &mut rand::rng());
        self.turns.hold(job.event.uuid);
        self.retries.put(pause, job);
    }

    /// Sends what the plugin answered.
    fn leave(&mut self, receipt: I::Receipt, leaving: Vec<Leaving>) {
        self.context.stats.routed(leaving.len());
        if leaving.is_empty() {
            return self.settle(receipt);
        }
        let token = self.open.insert(receipt, leaving.len());
        for leaving in leaving {
            match leaving {
                Leaving::Now(message) => self.send(token, Outgoing::Message(message)),
                Leaving::Later(delayed) => {
                    self.context.stats.delayed();
                    self.to_store.push_back((token, delayed));
                }
            }
        }
    }

    fn send(&mut self, token: u64, outgoing: Outgoing) {
        self.leaving += 1;
        self.outbox.send(token, outgoing);
    }

    /// Makes a dead letter of an event.
    fn bury_job(&mut self, job: Job<I::Receipt>, reason: String) {
        self.bury(job.event.message, job.attempt, job.receipt, reason);
    }

    fn bury(&mut self, event: Incoming, attempts: u32, receipt: I::Receipt, reason: String) {
        let message = event.into();
        let token = self.open.insert(receipt, 1);
        self.send_dead(token, message, attempts, DeadKind::Event, reason);
    }

    fn send_dead(
        &mut self,
        token: u64,
        message: Message,
        attempts: u32,
        kind: DeadKind,
        reason: String,
    ) {
        warn!(
            plugin = self.author.plugin,
            version = self.author.version,
            routing_key = message.routing_key,
            attempts,
            "dead letter: {reason}"
        );
        self.context.stats.dead(&reason);
        let letter = DeadLetter {
            reason,
            plugin: self.author.plugin.clone(),
            version: self.author.version.clone(),
            attempts,
            kind,
            since: self.context.clock.now(),
            message,
        };
        self.send(token, Outgoing::Dead(letter.into()));
    }

    /// # Errors
    /// Dead letters cannot be kept: the session must make their queue again.
    fn on_confirmed(&mut self, confirmed: Confirmed) -> Result<()> {
        let Confirmed { token, outgoing, fate } = confirmed;
        self.leaving -= 1;
        match (fate, outgoing) {
            (Fate::Arrived, _) => {
                self.resend_pause.reset();
                self.on_done(token);
            }
            (Fate::Undeliverable(reason), Outgoing::Message(message)) => {
                self.send_dead(token, message, 1, DeadKind::Publication, reason);
            }
            (Fate::Undeliverable(reason), Outgoing::Dead(_)) => {
                bail!("the dead-letter exchange does not take a message: {reason}")
            }
            (Fate::Refused(reason), outgoing) => {
                debug!(plugin = self.author.plugin, "message refused, to be sent again: {reason}");
                self.context.stats.failed(&reason);
                let pause = self.resend_pause.next_pause();
                self.resends.put(pause, (token, outgoing));
            }
        }
        Ok(())
    }

    /// One message of a delivery has arrived or is stored; after the last the
    /// delivery is settled.
    fn on_done(&mut self, token: u64) {
        if let Some(receipt) = self.open.arrived(token) {
            self.settle(receipt);
        }
    }

    /// A session that ends does not wait for a broker that refuses messages, which
    /// can be for ever: the events that caused them come again.
    fn give_up_refused(&mut self) {
        for (token, _) in self.resends.take() {
            self.open.give_up(token);
        }
    }

    fn settle(&mut self, receipt: I::Receipt) {
        self.held -= 1;
        self.inbox.settle(receipt);
    }
}
