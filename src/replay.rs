//! Recorded events through the plugins on a virtual clock: what would be
//! published, where and when. Nothing is, and nothing waits.
//!
//! The clock stands at each event's `received` while it is routed, and jumps to
//! what falls due in between. The same file and plugins give the same lines.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;

use anyhow::{Result, bail};
use serde_json::Value as Json;

use crate::clock::Clock;
use crate::event::{Datetime, DeadKind, DeadLetter, Delayed, Event, Failure, Incoming, Message};
use crate::jsonl::{dead_line, message_line, read_line};
use crate::plugins::{Change, Folder, Host, Instance, PluginFile};
use crate::router::answer::{self, Leaving};
use crate::router::{RETRY_PAUSES, Turns, Version};
use crate::settings::Settings;

/// What comes out of a replay.
pub enum Output {
    /// A message or a dead letter, as JSON Lines.
    Line(Json),
    /// A line of the file that cannot be read.
    Problem(String),
}

/// Plugins and the clock that they read.
pub struct Stage {
    settings: Settings,
    clock: Clock,
    actors: Vec<Actor>,
}

/// One plugin in a replay.
struct Actor {
    version: Version,
    instance: Instance,
    /// An event that is to be tried again holds up those of its uuid.
    turns: Turns<Event>,
}

impl Stage {
    /// The plugins of the configured folder.
    ///
    /// # Errors
    /// The folder cannot be read, or a plugin in it does not load.
    pub async fn of_folder(settings: Settings) -> Result<Self> {
        let mut sources = Vec::new();
        for change in Folder::read(&settings.plugins.dir)? {
            match change {
                Change::Present(source) => sources.push(source),
                Change::Unusable { name, path, reason } => {
                    bail!("plugin {name} ({}): {reason}", path.display())
                }
                Change::Gone { .. } => {}
            }
        }
        Self::of(settings, sources).await
    }

    /// These plugins.
    ///
    /// # Errors
    /// One of them does not load.
    pub async fn of(settings: Settings, mut sources: Vec<PluginFile>) -> Result<Self> {
        let clock = Clock::starting_at(epoch());
        let host = Arc::new(Host::new(settings.cache_dir(), clock.clone())?);
        sources.sort_by(|a, b| a.name.cmp(&b.name));
        let mut actors = Vec::new();
        for source in sources {
            let own = Arc::new(settings.of_plugin(&source.name));
            let plugin = host.load(source, &own).await?;
            let instance = plugin.instance();
            let version = Version { plugin, settings: own };
            actors.push(Actor { version, instance, turns: Turns::default() });
        }
        Ok(Self { settings, clock, actors })
    }

    /// Plays the lines of a file. The clock starts at `at` if the first of them
    /// does not say when it was received.
    pub async fn play(self, lines: &str, at: Option<Datetime>, print: &mut impl FnMut(Output)) {
        self.clock.set(at.unwrap_or_else(epoch));
        let mut play =
            Play { stage: self, agenda: BinaryHeap::new(), added: 0, keys: HashMap::new(), print };
        for (number, line) in lines.lines().enumerate().filter(|(_, line)| !line.trim().is_empty())
        {
            match read_line(line) {
                Err(error) => {
                    (play.print)(Output::Problem(format!("line {}: {error:#}", number + 1)))
                }
                Ok(recorded) => {
                    let received = recorded.received.unwrap_or(play.stage.clock.now());
                    play.advance_to(Some(received)).await;
                    let mut message = recorded.message;
                    if message.exchange.is_empty() {
                        message.exchange.clone_from(&play.stage.settings.amqp.exchange);
                    }
                    play.deliver(&message).await;
                }
            }
        }
        play.advance_to(None).await;
    }
}

/// Where the clock starts for a file that does not say: before everything, so
/// that nothing is past.
fn epoch() -> Datetime {
    Datetime::from_unix_micros(0)
}

struct Play<'a, F> {
    stage: Stage,
    agenda: BinaryHeap<Reverse<Entry>>,
    added: u64,
    /// The newest delayed message of each plugin and key.
    keys: HashMap<(String, String), u64>,
    print: &'a mut F,
}

/// Something that happens later.
struct Entry {
    at: Datetime,
    number: u64,
    what: What,
}

enum What {
    Leave(Box<Delayed>),
    Route { actor: usize, event: Box<Event>, attempt: u32 },
}

impl<F: FnMut(Output)> Play<'_, F> {
    /// Lets happen what is up until a time, or all that is left.
    async fn advance_to(&mut self, time: Option<Datetime>) {
        while self
            .agenda
            .peek()
            .is_some_and(|Reverse(next)| time.is_none_or(|time| next.at <= time))
        {
            let Some(Reverse(entry)) = self.agenda.pop() else { return };
            self.set_clock(entry.at);
            match entry.what {
                What::Leave(delayed) => self.leave(*delayed, entry.number),
                What::Route { actor, event, attempt } => self.route(actor, *event, attempt).await,
            }
        }
        self.set_clock(time.unwrap_or(self.stage.clock.now()));
    }

    /// Time does not go back, whatever order the events were recorded in.
    fn set_clock(&self, time: Datetime) {
        self.stage.clock.set(time.max(self.stage.clock.now()));
    }

    /// Gives a message to each plugin that subscribes to it.
    async fn deliver(&mut self, message: &Incoming) {
        for actor in 0..self.stage.actors.len() {
            if !self.stage.actors[actor].version.subscribes_to(&message.routing_key) {
                continue;
            }
            match Event::parse(message.clone(), self.stage.settings.events.naive_time_zone) {
                Err(refused) => self.bury(actor, *refused.message, 1, refused.reason),
                Ok(event) => {
                    if let Some(event) = self.stage.actors[actor].turns.take(event.uuid, event) {
                        self.route(actor, event, 1).await;
                    }
                }
            }
        }
    }

    /// Routes an event, and those that waited behind it.
    async fn route(&mut self, actor: usize, event: Event, attempt: u32) {
        let uuid = event.uuid;
        let mut next = Some((event, attempt));
        while let Some((event, attempt)) = next.take() {
            if self.is_done(actor, event, attempt).await {
                next = self.stage.actors[actor].turns.pass(uuid).map(|event| (event, 1));
            }
        }
    }

    /// Routes one event. False if it is to be tried again.
    async fn is_done(&mut self, actor: usize, event: Event, attempt: u32) -> bool {
        let playing = &mut self.stage.actors[actor];
        let now = self.stage.clock.now();
        match playing.instance.route(&event, attempt).await {
            Ok(publications) => {
                let author = playing.version.author(&self.stage.settings.amqp.output_exchange);
                match answer::leaving(&author, event, publications, now) {
                    Err(refused) => self.bury(actor, *refused.message, attempt, refused.reason),
                    Ok(leaving) => leaving.into_iter().for_each(|leaving| match leaving {
                        Leaving::Now(message) => self.print(&author.plugin, &message),
                        Leaving::Later(delayed) => self.delay(delayed),
                    }),
                }
            }
            Err(Failure::Reject(reason)) => self.bury(actor, event.message, attempt, reason),
            Err(Failure::Retry(_) | Failure::Broken(_))
                if attempt < playing.version.settings.limits.attempts =>
            {
                playing.turns.hold(event.uuid);
                let pause = RETRY_PAUSES.step(attempt);
                let what = What::Route { actor, event: Box::new(event), attempt: attempt + 1 };
                self.put(now.saturating_add(pause), what);
                return false;
            }
            Err(Failure::Retry(reason) | Failure::Broken(reason)) => {
                self.bury(
                    actor,
                    event.message,
                    attempt,
                    format!("{reason} (attempt {attempt} of {attempt})"),
                );
            }
        }
        true
    }

    fn delay(&mut self, delayed: Delayed) {
        let key = delayed.key.clone().map(|key| (delayed.plugin.clone(), key));
        let number = self.put(delayed.due, What::Leave(Box::new(delayed)));
        if let Some(key) = key {
            self.keys.insert(key, number);
        }
    }

    fn put(&mut self, at: Datetime, what: What) -> u64 {
        self.added += 1;
        self.agenda.push(Reverse(Entry { at, number: self.added, what }));
        self.added
    }

    /// Prints a delayed message, unless a newer one has taken its place.
    fn leave(&mut self, delayed: Delayed, number: u64) {
        let key = delayed.key.map(|key| (delayed.plugin.clone(), key));
        if key.is_none_or(|key| self.keys.get(&key) == Some(&number)) {
            self.print(&delayed.plugin, &delayed.message);
        }
    }

    fn print(&mut self, plugin: &str, message: &Message) {
        self.print_line(message_line(Some(plugin), message));
    }

    fn bury(&mut self, actor: usize, event: Incoming, attempts: u32, reason: String) {
        let plugin = &self.stage.actors[actor].version.plugin;
        let letter = DeadLetter {
            reason,
            plugin: plugin.name.clone(),
            version: plugin.version.clone(),
            attempts,
            kind: DeadKind::Event,
            since: self.stage.clock.now(),
            message: event.into(),
        };
        self.print_line(dead_line(&letter));
    }

    fn print_line(&mut self, mut line: Json) {
        line["at"] = self.stage.clock.now().to_string().into();
        (self.print)(Output::Line(line));
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}
