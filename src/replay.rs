//! Recorded events through the plugins on a virtual clock: what would be
//! published, where and when. Nothing is, and nothing waits.
//!
//! The clock stands at each event's `received` while it is routed (a plugin that sleeps sees
//! its own clock move for the rest of the call), and jumps to what falls due in between. The same
//! file and plugins give the same lines. The rules are those of the live router: this is another
//! driver of [`Core`].

mod collected;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::agenda::Agenda;
use crate::backoff::Jitter;
use crate::clock::Clock;
use crate::event::{Datetime, Delayed, Failure, Fault, Incoming, Outgoing};
use crate::jsonl::{Line, dead_line, message_line, read_line};
use crate::plugins::{Change, Codegen, Folder, Host, Instance, PluginFile};
use crate::router::{Breaker, Core, Effect, Intake, Limit, Record, Stats, Version};
use crate::settings::Settings;
use crate::transport::{Completed, Delivery, Fate};
pub use collected::{Collected, collect};

/// What comes out of a replay.
pub enum Output {
    /// A message or a dead letter, as JSON Lines.
    Line(Line),
    /// A line of the file that cannot be read.
    Problem(String),
    /// No plugin subscribes to an event.
    NotSubscribed(NotSubscribed),
}

/// An event that no plugin gets.
#[derive(Clone, Debug)]
pub struct NotSubscribed {
    /// Which of the file's events it is, from 1.
    pub number: usize,
    /// Its routing key.
    pub routing_key: String,
}

/// What is played.
#[derive(Clone, Copy, Debug, Default)]
pub struct Script<'a> {
    /// Events, as JSON Lines.
    pub lines: &'a str,
    /// What time it is at the start, if the first of them does not say when it was received.
    pub at: Option<Datetime>,
    /// Which attempt the events are at, in order; the first for those beyond.
    pub attempts: &'a [u32],
}

/// Plugins and the clock that they read.
pub struct Stage {
    settings: Settings,
    clock: Clock,
    host: Arc<Host>,
    actors: Vec<Actor>,
}

/// One plugin in a replay.
struct Actor {
    core: Core<()>,
    instance: Instance,
}

impl Stage {
    /// The plugins of the configured folder.
    ///
    /// # Errors
    /// The folder cannot be read, or a plugin in it does not load.
    pub async fn of_folder(settings: Settings) -> Result<Self> {
        let mut files = Vec::new();
        for change in Folder::read(&settings.plugins.dir)? {
            match change {
                Change::Present(file) => files.push(file),
                Change::Unusable { name, path, reason } => {
                    bail!("plugin {name} ({}): {reason}", path.display())
                }
                Change::Gone { .. } => {}
            }
        }
        let mut stage = Self::empty(settings, Codegen::Optimised).await?;
        for file in files {
            stage.add(file.read().await?).await?;
        }
        Ok(stage)
    }

    /// One plugin.
    ///
    /// # Errors
    /// It does not load.
    pub async fn of(settings: Settings, source: PluginFile, codegen: Codegen) -> Result<Self> {
        let mut stage = Self::empty(settings, codegen).await?;
        stage.add(source).await?;
        Ok(stage)
    }

    async fn empty(settings: Settings, codegen: Codegen) -> Result<Self> {
        let clock = Clock::starting_at(epoch());
        let host = Host::of_program(settings.cache_dir(), clock.clone(), codegen).await?;
        let host = Arc::new(host);
        Ok(Self { settings, clock, host, actors: Vec::new() })
    }

    async fn add(&mut self, source: PluginFile) -> Result<()> {
        let settings = Arc::new(self.settings.of_plugin(&source.name));
        let plugin = self.host.load(source, &settings).await?;
        let instance = plugin.instance();
        let version = Version { plugin, settings };
        self.actors.push(Actor { core: core(&version, &self.settings), instance });
        Ok(())
    }

    /// The versions of the plugins.
    pub fn versions(&self) -> Vec<String> {
        self.actors.iter().map(|actor| actor.core.terms().author.version.clone()).collect()
    }

    /// What the plugins log, while they are played and after.
    pub fn host(&self) -> Arc<Host> {
        Arc::clone(&self.host)
    }

    /// The topic patterns of the plugins' events.
    pub fn subscriptions(&self) -> impl Iterator<Item = &str> {
        let terms = self.actors.iter().map(|actor| actor.core.terms());
        terms.flat_map(|terms| terms.subscriptions.iter().map(String::as_str))
    }

    /// Plays a script. Tells whether a plugin was stopped for its time or its stack.
    pub async fn play(self, script: Script<'_>, print: &mut impl FnMut(Output)) -> bool {
        self.clock.set(script.at.unwrap_or_else(epoch));
        let mut play = Play {
            stage: self,
            delayed: Agenda::default(),
            keys: HashMap::new(),
            is_stopped: false,
            print,
        };
        let mut attempts = script.attempts.iter();
        let lines = script.lines.lines().enumerate();
        let lines = lines.filter(|(_, line)| !line.trim().is_empty());
        for (event, (number, line)) in lines.enumerate() {
            let attempt = attempts.next().copied().unwrap_or(1);
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
                    if !play.deliver(&message, attempt).await {
                        let routing_key = message.routing_key;
                        let number = event + 1;
                        let nobody = NotSubscribed { number, routing_key };
                        (play.print)(Output::NotSubscribed(nobody));
                    }
                }
            }
        }
        play.advance_to(None).await;
        play.is_stopped
    }
}

/// Where the clock starts for a file that does not say: before everything, so
/// that nothing is past.
fn epoch() -> Datetime {
    Datetime::from_unix_micros(0)
}

/// The rules for one plugin. Its breaker stays closed, so that the file shows what
/// becomes of each event; its pauses have no jitter, so that two runs are alike.
fn core(version: &Version, settings: &Settings) -> Core<()> {
    Core::new(
        version.terms(&settings.amqp.output_exchange),
        Intake::of(settings),
        Limit {
            deliveries: usize::MAX,
            bytes: usize::MAX,
            hold: Duration::MAX,
            finish: Limit::FINISH,
        },
        Record { breaker: Breaker::never_opens(), ..Record::default() },
        Arc::new(Stats::default()),
        Jitter::none(),
    )
}

struct Play<'a, F> {
    stage: Stage,
    delayed: Agenda<Datetime, Delayed>,
    /// The newest delayed message of each plugin and key.
    keys: HashMap<(String, String), u64>,
    /// Whether a plugin was stopped for its time or its stack.
    is_stopped: bool,
    print: &'a mut F,
}

impl<F: FnMut(Output)> Play<'_, F> {
    /// Lets happen what is up until a time, or all that is left.
    async fn advance_to(&mut self, time: Option<Datetime>) {
        while let Some(next) = self.next_at().filter(|next| time.is_none_or(|time| *next <= time)) {
            self.set_clock(next);
            let now = self.stage.clock.read();
            while let Some((number, delayed)) = self.delayed.take_due(now.wall) {
                self.release(delayed, number);
            }
            for actor in 0..self.stage.actors.len() {
                self.stage.actors[actor].core.on_time(now.instant);
                self.route(actor).await;
            }
        }
        self.set_clock(time.unwrap_or(self.stage.clock.now()));
    }

    /// When something happens next by itself.
    fn next_at(&self) -> Option<Datetime> {
        let now = self.stage.clock.read();
        let retries = self.stage.actors.iter().filter_map(|actor| actor.core.wake_at());
        retries.map(|instant| now.wall_at(instant)).chain(self.delayed.next_at()).min()
    }

    /// Time does not go back, whatever order the events were recorded in.
    fn set_clock(&self, time: Datetime) {
        self.stage.clock.set(time.max(self.stage.clock.now()));
    }

    /// Gives a message to each plugin that subscribes to it; tells whether one does.
    async fn deliver(&mut self, message: &Incoming, attempt: u32) -> bool {
        let now = self.stage.clock.read();
        let mut is_subscribed = false;
        for actor in 0..self.stage.actors.len() {
            let core = &mut self.stage.actors[actor].core;
            if core.terms().subscribes_to(&message.routing_key) {
                is_subscribed = true;
                let delivery = Delivery { message: message.clone(), receipt: () };
                match attempt {
                    1 => core.on_delivery(delivery, now),
                    attempt => core.on_delivery_at(delivery, attempt, now),
                };
                self.route(actor).await;
            }
        }
        is_subscribed
    }

    /// Routes what is there for a plugin, and does what the rules say.
    async fn route(&mut self, actor: usize) {
        loop {
            self.perform(actor);
            let now = self.stage.clock.read();
            let Actor { core, instance } = &mut self.stage.actors[actor];
            let Some(job) = core.next_call() else { return };
            let answer = instance.route(&job.event, job.attempt).await;
            self.is_stopped |=
                matches!(answer, Err(Failure::Broken(_, Fault::Timeout | Fault::Stack)));
            core.on_answer(job, answer, now);
        }
    }

    fn perform(&mut self, actor: usize) {
        let now = self.stage.clock.read();
        while let Some(effect) = self.stage.actors[actor].core.next_effect() {
            match effect {
                Effect::Publish { token, outgoing, .. } => {
                    self.print_outgoing(actor, &outgoing);
                    let completed = Completed { token, outgoing, fate: Fate::Confirmed };
                    self.stage.actors[actor].core.on_completed(completed, now);
                }
                Effect::Store { token, delayed } => {
                    self.delay(delayed);
                    self.stage.actors[actor].core.on_committed(token, now.instant);
                }
                Effect::Settle { .. }
                | Effect::GiveUp { .. }
                | Effect::Widen
                | Effect::Swap { .. } => {}
            }
        }
    }

    fn delay(&mut self, delayed: Delayed) {
        let key = delayed.key.clone().map(|key| (delayed.plugin.clone(), key));
        let number = self.delayed.put(delayed.due, delayed);
        if let Some(key) = key {
            self.keys.insert(key, number);
        }
    }

    /// Prints a delayed message, unless a newer one has replaced it.
    fn release(&mut self, delayed: Delayed, number: u64) {
        let key = delayed.key.map(|key| (delayed.plugin.clone(), key));
        if key.is_none_or(|key| self.keys.get(&key) == Some(&number)) {
            self.print_line(message_line(Some(&delayed.plugin), &delayed.message));
        }
    }

    fn print_outgoing(&mut self, actor: usize, outgoing: &Outgoing) {
        let line = match outgoing {
            Outgoing::Message(message) => {
                let plugin = &self.stage.actors[actor].core.terms().author.plugin;
                message_line(Some(plugin), message)
            }
            Outgoing::Dead(letter) => dead_line(letter),
        };
        self.print_line(line);
    }

    fn print_line(&mut self, mut line: Line) {
        line.put("at", self.stage.clock.now().to_string());
        (self.print)(Output::Line(line));
    }
}
