//! What a run is to be like: all of it follows from the seed.

use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

/// A run.
#[derive(Clone, Debug)]
pub struct Plan {
    pub seed: u64,
    /// Whether the plugin fails for ever on the events that it is stubborn about.
    pub stubborn: bool,
    pub events: Vec<PlannedEvent>,
    /// What happens besides, and when.
    pub incidents: Vec<(Duration, Incident)>,
    pub lanes: usize,
    pub prefetch: usize,
    /// Bytes that may be in flight.
    pub bytes: usize,
    pub attempts: u32,
    pub suspend_after: u32,
    /// Messages that may wait for the store.
    pub store_capacity: usize,
    /// The longest that confirms and commits usually take.
    pub latency: Duration,
    pub chances: Chances,
}

/// How likely things are, from 0 to 1.
#[derive(Clone, Copy, Debug)]
pub struct Chances {
    pub nack: f64,
    pub unroutable: f64,
    pub late_confirm: f64,
    pub withheld_confirm: f64,
    pub retry: f64,
    pub trap: f64,
    pub hang: f64,
    pub slow: f64,
    pub reject: f64,
    pub forbidden: f64,
    pub delayed: f64,
    pub many: f64,
    pub open_fails: f64,
    /// Of a delivery: more has come than is kept.
    pub too_much: f64,
    /// Of a statement of the store's: it fails, and its transaction with it.
    pub statement_fails: f64,
    /// Of a message: the store has no place for it.
    pub unstorable: f64,
}

#[derive(Clone, Copy, Debug)]
pub struct PlannedEvent {
    pub at: Duration,
    pub uuid: u128,
    pub kind: Kind,
}

/// What an event is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Good,
    /// The plugin fails on it until the faults are over.
    Stubborn,
    /// The broker closes the channel at a message that it causes.
    Poison,
    /// A queue rejects a message that it causes, however often it is sent.
    Full,
    /// It is no event of MO.
    Unreadable,
    NotSubscribed,
    TooManyHops,
}

/// Something that happens to a run.
#[derive(Clone, Copy, Debug)]
pub enum Incident {
    /// The connection is lost; the broker can be reached again after a while.
    ConnectionLost(Duration),
    /// The broker ends the consumer; publishing goes on.
    ConsumerCancelled,
    /// The publishing channel is gone, and no message is to blame.
    ChannelClosed,
    /// The output exchange refuses all messages for a while.
    ExchangeRefuses(Duration),
    /// The output exchange is gone for a while, or, if it says so, until the router makes it.
    ExchangeMissing(Duration, bool),
    /// The broker confirms nothing for a while.
    Blocked(Duration),
    /// The store commits nothing for a while.
    StoreDown(Duration),
    /// The plugin fails on everything for a while.
    PluginFails(Duration),
    /// A new version of the plugin.
    NewVersion,
    /// A person resumes the plugin.
    Resumed,
    /// The router is stopped and started again.
    Restart,
}

/// How long faults go on.
pub const CHAOS: Duration = Duration::from_secs(300);

impl Plan {
    pub fn of(seed: u64) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed);
        let rng = &mut rng;
        let uuids = rng.random_range(1..=20);
        let mut events = Vec::new();
        let mut at = Duration::ZERO;
        for _ in 0..rng.random_range(1..=10) {
            for _ in 0..rng.random_range(1..=20) {
                let uuid = rng.random_range(1..=uuids);
                events.push(PlannedEvent { at, uuid, kind: kind(rng) });
            }
            at += Duration::from_millis(rng.random_range(0..40_000));
        }
        // In some runs nothing but events is left on which the plugin fails for ever.
        let stubborn = rng.random_bool(0.05);
        if stubborn {
            let stubborn = |uuid| PlannedEvent { at, uuid, kind: Kind::Stubborn };
            events.extend((1000..1030).map(stubborn));
        }
        let mut incidents: Vec<(Duration, Incident)> = (0..rng.random_range(0..=8))
            .map(|_| (CHAOS.mul_f64(rng.random_range(0.0..0.9)), incident(rng)))
            .collect();
        incidents.sort_by_key(|(at, _)| *at);
        let chances = chances(rng);
        Self {
            seed,
            stubborn,
            events,
            incidents,
            lanes: if rng.random_bool(0.5) { 1 } else { rng.random_range(2..=4) },
            prefetch: rng.random_range(1..=80),
            // Few of the events, or one alone; in other runs far more than all of them.
            bytes: if rng.random_bool(0.5) { rng.random_range(1..=50_000) } else { 64 << 20 },
            attempts: rng.random_range(1..=5),
            suspend_after: rng.random_range(2..=20),
            store_capacity: rng.random_range(1..=16),
            latency: Duration::from_micros(rng.random_range(1..50_000)),
            chances,
        }
    }
}

fn kind(rng: &mut SmallRng) -> Kind {
    match rng.random_range(0..100) {
        0..3 => Kind::Unreadable,
        3..6 => Kind::NotSubscribed,
        6..8 => Kind::TooManyHops,
        8..12 => Kind::Stubborn,
        12..14 => Kind::Poison,
        14..16 => Kind::Full,
        _ => Kind::Good,
    }
}

fn incident(rng: &mut SmallRng) -> Incident {
    let mut while_long = || Duration::from_millis(rng.random_range(1..40_000));
    let pause = while_long();
    match rng.random_range(0..12) {
        0 | 1 => Incident::ConnectionLost(pause),
        2 => Incident::ConsumerCancelled,
        3 => Incident::ChannelClosed,
        4 => Incident::Blocked(pause),
        5 => Incident::StoreDown(pause),
        6 => Incident::PluginFails(pause),
        7 => Incident::NewVersion,
        8 => Incident::Resumed,
        9 => Incident::ExchangeRefuses(pause),
        10 => Incident::ExchangeMissing(pause, rng.random_bool(0.5)),
        _ => Incident::Restart,
    }
}

/// Each kind of trouble is there in some runs and not in others: all of them at once
/// would hide each other.
fn chances(rng: &mut SmallRng) -> Chances {
    let mut chance = |most: f64| {
        let there = rng.random_bool(0.5);
        if there { rng.random_range(0.0..most) } else { 0.0 }
    };
    Chances {
        nack: chance(0.3),
        unroutable: chance(0.3),
        late_confirm: chance(0.1),
        withheld_confirm: chance(0.02),
        retry: chance(0.4),
        trap: chance(0.2),
        hang: chance(0.05),
        slow: chance(0.3),
        reject: chance(0.2),
        forbidden: chance(0.1),
        delayed: chance(0.5),
        many: chance(0.05),
        open_fails: chance(0.3),
        too_much: chance(0.02),
        statement_fails: chance(0.2),
        unstorable: chance(0.1),
    }
}
