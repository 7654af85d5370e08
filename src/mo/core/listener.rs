//! What is known of one listener.

use std::time::{Duration, Instant};

use uuid::Uuid;

/// After an event, a listener without one is asked again this soon: another transaction at MO can
/// have hidden what there is.
const SOON: Duration = Duration::from_millis(500);
/// For so long after an event it is asked again [`SOON`].
const BUSY: Duration = Duration::from_secs(5);

/// While a listener gives all that it is asked for, it is asked for so many times as much. Each
/// event that is not there costs MO as much as one that is.
const WIDER: usize = 4;

/// A listener of ours.
#[derive(Debug)]
pub struct Listener {
    /// Its identity at MO; none before it is declared.
    pub uuid: Option<Uuid>,
    /// Who declared it, as MO has it; none before, nor while it was somebody else's only.
    pub owner: Option<Uuid>,
    /// Since when nobody has asked for its events.
    pub unwanted_since: Option<Instant>,
    /// MO gives us nothing of it: why was told.
    pub is_foreign: bool,
    /// When to declare it again, beside the regular times.
    pub declare_at: Option<Instant>,
    /// How often in a row MO refused to declare it.
    pub declare_refusals: u32,
    /// When to ask for events again.
    pub poll_at: Instant,
    /// Whether it is asked alone, since MO refused a request that it had part in.
    pub is_alone: bool,
    /// How often in a row MO refused to give its events.
    pub fetch_refusals: u32,
    /// How many events to ask for at once: more and more while it gives all that it is asked for.
    pub width: usize,
    /// When it last had an event.
    last_event: Option<Instant>,
    /// Its events that the sink does not take at the moment.
    pub stuck: Vec<usize>,
    /// How many the sink did not take when they were last offered, and has not taken since.
    pub untaken: usize,
    /// How often in a row the sink did not take them all.
    pub failures: u32,
    /// When to offer them to the sink again.
    pub retry_at: Option<Instant>,
}

impl Listener {
    /// One that is not declared yet.
    pub fn new(now: Instant) -> Self {
        Self {
            uuid: None,
            owner: None,
            unwanted_since: None,
            is_foreign: false,
            declare_at: None,
            declare_refusals: 0,
            poll_at: now,
            is_alone: false,
            fetch_refusals: 0,
            width: 1,
            last_event: None,
            stuck: Vec::new(),
            untaken: 0,
            failures: 0,
            retry_at: None,
        }
    }

    /// Whom to ask for its events, if they are wanted and can be had.
    pub fn source(&self) -> Option<Uuid> {
        let is_open = self.unwanted_since.is_none() && !self.is_foreign && self.untaken == 0;
        self.uuid.filter(|_| is_open)
    }

    /// When to offer its events to the sink again. Nobody takes those that nobody asks for.
    pub fn offers_at(&self) -> Option<Instant> {
        self.retry_at.filter(|_| self.unwanted_since.is_none())
    }

    /// When to declare it again, unless nobody asks for its events.
    pub fn declares_at(&self) -> Option<Instant> {
        self.declare_at.filter(|_| self.unwanted_since.is_none())
    }

    /// It was asked for so many events and gave so many. `idle_at` is when all listeners without
    /// traffic are asked next.
    pub fn on_fetched(&mut self, asked: usize, given: usize, now: Instant, idle_at: Instant) {
        self.is_alone = false;
        if given > 0 {
            self.last_event = Some(now);
        }
        let is_full = given == asked;
        self.width = if is_full { asked * WIDER } else { 1 };
        let is_busy = self.last_event.is_some_and(|last| now < last + BUSY);
        self.poll_at = match (is_full, is_busy) {
            (true, _) => now,
            (false, true) => idle_at.min(now + SOON),
            (false, false) => idle_at,
        };
    }
}
