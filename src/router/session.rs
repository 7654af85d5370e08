//! One plugin's events, from delivery to settlement, for as long as the
//! connection lasts.
//!
//! The life of an event reads from top to bottom: [`Session::on_delivery`] parses
//! it, [`Session::route`] gives it to the plugin, [`Session::on_answer`] turns the
//! answer into messages, [`Session::leave`] sends them, and [`Session::on_done`]
//! settles the delivery when the last of them has arrived. Between receiving and
//! settling nothing returns early: what fails becomes a retry or a dead letter.

use std::collections::{HashMap, HashSet, VecDeque};
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
use super::later::{Again, Agenda};
use super::stats::Stats;
use crate::backoff::Backoff;
use crate::clock::Clock;
use crate::delay;
use crate::event::{DeadKind, DeadLetter, Delayed, Event, Failure, Incoming, Message, Outgoing};
use crate::plugins::Plugin;
use crate::settings::PluginSettings;
use crate::transport::{Confirmed, Delivery, Fate, Inbox, Outbox};

/// Settlements are told at the latest when so many have gathered.
const SETTLE_TOGETHER: usize = 256;
/// Events that are taken in a row before anything but confirms is looked at.
const IN_A_ROW: usize = 64;
/// The first pause before an event is tried again, and the longest.
pub const RETRY_PAUSE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(60));
/// The same for a plugin on trial.
const TRIAL_PAUSE: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(300));
/// The first pause before a refused message is sent again, and the longest.
const RESEND_PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));

/// What a session works with; it outlives the session.
#[derive(Clone)]
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

/// One version of a plugin, with the settings that it was loaded with.
#[derive(Clone)]
pub struct Version {
    /// The plugin.
    pub plugin: Arc<Plugin>,
    /// Its settings.
    pub settings: Arc<PluginSettings>,
}

impl Version {
    /// Who its answers come from.
    pub fn author(&self, output_exchange: &str) -> Author {
        Author {
            plugin: self.plugin.name.clone(),
            version: self.plugin.version.clone(),
            granted: self.settings.exchanges.clone(),
            output_exchange: output_exchange.to_owned(),
        }
    }

    fn lanes<R: Send + 'static>(&self) -> Lanes<R> {
        Lanes::new(&self.plugin, self.settings.lanes)
    }

    /// The topic patterns of the events that the plugin gets.
    pub fn subscriptions(&self) -> &[String] {
        self.settings.subscriptions.as_deref().unwrap_or(&self.plugin.subscriptions)
    }

    /// Whether it gets the events of a routing key.
    pub fn subscribes_to(&self, routing_key: &str) -> bool {
        self.subscriptions()
            .iter()
            .any(|pattern| pattern == "#" || crate::event::topic::matches(pattern, routing_key))
    }
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

/// A delivery whose messages have left and not all arrived.
struct Open<R> {
    receipt: R,
    missing: usize,
}

/// See the module's documentation.
pub struct Session<I: Inbox, O> {
    context: Context,
    version: Version,
    author: Author,
    inbox: I,
    outbox: O,
    lanes: Lanes<I::Receipt>,
    /// A version that waits until the lanes have answered all they were given.
    next_version: Option<Version>,
    /// Jobs that are with the lanes.
    routing: usize,
    /// Deliveries that are not settled.
    held: usize,
    open: HashMap<u64, Open<I::Receipt>>,
    next_token: u64,
    /// The uuids of which an event is to be tried again or is with a lane, and
    /// the events that wait behind it.
    busy: HashMap<Uuid, VecDeque<Job<I::Receipt>>>,
    /// Events that no longer wait.
    unblocked: VecDeque<Job<I::Receipt>>,
    agenda: Agenda<Job<I::Receipt>>,
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

impl<I: Inbox, O: Outbox> Session<I, O>
where
    I::Receipt: 'static,
{
    /// A session on an open inbox and outbox. `on_trial` is for a plugin that was
    /// suspended.
    pub fn new(context: Context, inbox: I, outbox: O, on_trial: bool) -> Self {
        let mut context = context;
        let version = context.current.borrow_and_update().clone();
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
            held: 0,
            open: HashMap::new(),
            next_token: 0,
            busy: HashMap::new(),
            unblocked: VecDeque::new(),
            agenda: Agenda::default(),
            resend_pause: Backoff::new(RESEND_PAUSE.0, RESEND_PAUSE.1),
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
            self.take_what_is_there().await?;
            if self.exhausted && self.held == 0 {
                self.end.get_or_insert(End::Stopped);
            }
            if let Some(end) = self.end
                && self.open.is_empty()
                && self.routing == 0
            {
                self.inbox.close().await;
                return Ok(end);
            }
            let (going, taking) = (self.is_going(), self.is_taking());
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
                again = self.agenda.next(), if going => match again {
                    Again::Route(job) => self.route(job).await,
                    Again::Send { token, outgoing } => self.outbox.send(token, *outgoing),
                },
                delivery = self.inbox.next(), if taking => self.on_received(delivery?).await,
                () = ready(()), if self.inbox.unsent() > 0 => self.inbox.flush(),
            }
            if self.inbox.unsent() >= SETTLE_TOGETHER {
                self.inbox.flush();
            }
        }
    }

    /// Does what can be done without waiting: confirms that have come, and
    /// deliveries that are there. Under load this is all that a round consists
    /// of, and it costs half of what looking at everything would. What the
    /// deliveries caused is sent together, when confirms are next looked at.
    async fn take_what_is_there(&mut self) -> Result<()> {
        while let Some(confirmed) = self.outbox.confirmed().now_or_never() {
            self.on_confirmed(confirmed?)?;
        }
        for _ in 0..IN_A_ROW {
            if !self.is_taking() {
                break;
            }
            match self.inbox.next().now_or_never() {
                Some(delivery) => self.on_received(delivery?).await,
                None => break,
            }
        }
        Ok(())
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
        self.unblocked.extend(self.agenda.take_routes());
        if self.on_trial {
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
                let job = Job { event: Box::new(event), attempt: 1, receipt };
                match self.busy.get_mut(&job.event.uuid) {
                    Some(queue) => queue.push_back(job),
                    None => self.route(job).await,
                }
            }
        }
    }

    /// Gives an event to the plugin.
    async fn route(&mut self, job: Job<I::Receipt>) {
        if self.lanes.are_tasks() {
            self.busy.entry(job.event.uuid).or_default();
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
                let now = self.context.clock.now();
                match answer::leaving(&self.author, &job.event, publications, now) {
                    Ok(leaving) => self.leave(job, leaving),
                    Err(reason) => self.bury_job(job, reason),
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
        self.unblock(uuid);
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

    /// Puts an event on the agenda; meanwhile those of its uuid wait behind it.
    fn try_again(&mut self, mut job: Job<I::Receipt>) {
        job.attempt += 1;
        let (first, longest) = if self.on_trial { TRIAL_PAUSE } else { RETRY_PAUSE };
        let pause = Backoff::pause_before(job.attempt, first, longest);
        self.busy.entry(job.event.uuid).or_default();
        self.agenda.put(pause, Again::Route(job));
    }

    /// Lets the next event of a uuid through, now that the one before it is done.
    fn unblock(&mut self, uuid: Uuid) {
        if let Some(behind) = self.busy.get_mut(&uuid) {
            match behind.pop_front() {
                Some(job) => self.unblocked.push_back(job),
                None => drop(self.busy.remove(&uuid)),
            }
        }
    }

    /// Sends what the plugin answered.
    fn leave(&mut self, job: Job<I::Receipt>, leaving: Vec<Leaving>) {
        self.context.stats.routed(leaving.len());
        let token = self.open(job.receipt, leaving.len());
        for leaving in leaving {
            match leaving {
                Leaving::Now(message) => self.outbox.send(token, Outgoing::Message(message)),
                Leaving::Later(delayed) => {
                    self.context.stats.delayed();
                    self.to_store.push_back((token, delayed));
                }
            }
        }
    }

    /// Makes a dead letter of an event.
    fn bury_job(&mut self, job: Job<I::Receipt>, reason: String) {
        self.bury(job.event.message, job.attempt, job.receipt, reason);
    }

    fn bury(&mut self, event: Incoming, attempts: u32, receipt: I::Receipt, reason: String) {
        let message = event.into();
        let token = self.open(receipt, 1);
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
        self.outbox.send(token, Outgoing::Dead(letter.into()));
    }

    /// Notes that a delivery is settled once `messages` have arrived: at once if
    /// there are none.
    fn open(&mut self, receipt: I::Receipt, messages: usize) -> u64 {
        let token = self.next_token;
        self.next_token += 1;
        if messages == 0 {
            self.settle(receipt);
        } else {
            self.open.insert(token, Open { receipt, missing: messages });
        }
        token
    }

    /// # Errors
    /// Dead letters cannot be kept: the session must make their queue again.
    fn on_confirmed(&mut self, confirmed: Confirmed) -> Result<()> {
        let Confirmed { token, outgoing, fate } = confirmed;
        match (fate, outgoing) {
            (Fate::Arrived, _) => {
                self.resend_pause = Backoff::new(RESEND_PAUSE.0, RESEND_PAUSE.1);
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
                self.agenda.put(pause, Again::Send { token, outgoing: Box::new(outgoing) });
            }
        }
        Ok(())
    }

    /// One message of a delivery has arrived or is stored; after the last the
    /// delivery is settled.
    fn on_done(&mut self, token: u64) {
        let Some(open) = self.open.get_mut(&token) else { return };
        open.missing -= 1;
        if open.missing == 0
            && let Some(open) = self.open.remove(&token)
        {
            self.settle(open.receipt);
        }
    }

    fn settle(&mut self, receipt: I::Receipt) {
        self.held -= 1;
        self.inbox.settle(receipt);
    }
}
