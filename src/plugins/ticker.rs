//! The clock that interrupts guests. It stands still while none runs.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::{self, JoinHandle, Thread};
use std::time::Duration;

use anyhow::{Context, Result};
use wasmtime::Engine;

/// How often a running guest yields its thread, and how precise its time limit is.
pub(super) const TICK: Duration = Duration::from_millis(20);

/// Ticks without any call after which the clock stops. Starting it takes a system call, which
/// would be a part of each call if it stopped at once.
const IDLE_TICKS: u32 = 50;

/// A thread that advances an engine's epoch while guests run, until this is dropped.
pub(super) struct Ticker {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    guests: Mutex<Guests>,
    asleep: AtomicBool,
    stopped: AtomicBool,
}

/// What each guest that there is does. Ended ones are removed when as many have come.
#[derive(Default)]
struct Guests {
    all: Vec<Weak<AtomicU64>>,
    next_cleaning: usize,
}

/// Tells the clock when one guest runs: a count that is odd during a call.
pub(super) struct Activity {
    count: Arc<AtomicU64>,
    shared: Arc<Shared>,
    thread: Thread,
}

/// A guest runs. Dropping it says that it does not any more.
pub(super) struct Running<'a>(&'a AtomicU64);

impl Ticker {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system cannot start a thread.
    pub(super) fn start(engine: &Engine) -> Result<Self> {
        let shared = Arc::new(Shared {
            guests: Mutex::default(),
            asleep: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
        });
        let (engine, of_thread) = (engine.weak(), Arc::clone(&shared));
        let tick = move || {
            let mut idle = Idle::default();
            while !of_thread.stopped.load(Ordering::SeqCst) {
                if idle.is_over(of_thread.seen()) {
                    of_thread.sleep(&mut idle);
                    continue;
                }
                thread::park_timeout(TICK);
                let Some(engine) = engine.upgrade() else { break };
                engine.increment_epoch();
            }
        };
        let thread = thread::Builder::new()
            .name("plugin-ticker".into())
            .spawn(tick)
            .context("cannot start the thread that enforces plugins' time limits")?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// A guest that has not run yet.
    pub(super) fn guest(&self) -> Activity {
        let count = Arc::new(AtomicU64::new(0));
        self.shared.guests().add(Arc::downgrade(&count));
        let thread = self.thread.as_ref().map_or_else(thread::current, |t| t.thread().clone());
        Activity { count, shared: Arc::clone(&self.shared), thread }
    }
}

impl Activity {
    /// The guest runs as long as the result lives.
    pub(super) fn run(&self) -> Running<'_> {
        // Either the thread sees this before it sleeps, or this sees that it sleeps: both
        // write before they read.
        self.count.fetch_add(1, Ordering::SeqCst);
        if self.shared.asleep.load(Ordering::SeqCst) {
            self.thread.unpark();
        }
        Running(&self.count)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// What was seen of all guests at one time.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Seen {
    is_running: bool,
    /// The sum of their counts.
    counts: u64,
}

impl Shared {
    fn guests(&self) -> MutexGuard<'_, Guests> {
        // No holder leaves anything half done.
        self.guests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn seen(&self) -> Seen {
        let mut seen = Seen { is_running: false, counts: 0 };
        for guest in self.guests().all.iter().filter_map(Weak::upgrade) {
            let count = guest.load(Ordering::SeqCst);
            seen.is_running |= !count.is_multiple_of(2);
            seen.counts = seen.counts.wrapping_add(count);
        }
        seen
    }

    /// Sleeps until a guest runs, or the clock is stopped.
    fn sleep(&self, idle: &mut Idle) {
        self.asleep.store(true, Ordering::SeqCst);
        let before = self.seen();
        while !idle.is_new(before, self.seen()) && !self.stopped.load(Ordering::SeqCst) {
            thread::park();
        }
        self.asleep.store(false, Ordering::SeqCst);
        *idle = Idle::default();
    }
}

/// For how many ticks nothing has happened.
#[derive(Default)]
struct Idle {
    ticks: u32,
    last: Option<Seen>,
}

impl Idle {
    /// Takes in what was seen at a tick, and says whether nothing has happened for long.
    fn is_over(&mut self, seen: Seen) -> bool {
        let is_idle = !seen.is_running && self.last == Some(seen);
        self.ticks = if is_idle { self.ticks + 1 } else { 0 };
        self.last = Some(seen);
        self.ticks >= IDLE_TICKS
    }

    /// Whether a guest runs, or has run since `before`, or since the last tick.
    fn is_new(&self, before: Seen, now: Seen) -> bool {
        now.is_running || now != before || self.last != Some(now)
    }
}

impl Guests {
    fn add(&mut self, guest: Weak<AtomicU64>) {
        if self.all.len() >= self.next_cleaning {
            self.all.retain(|guest| guest.strong_count() > 0);
            self.next_cleaning = 2 * self.all.len() + 16;
        }
        self.all.push(guest);
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // The thread cannot panic, and a destructor could not report it.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugins::engine::{Allocation, Codegen, engine};

    fn until(what: &str, is_so: impl Fn() -> bool) {
        for _ in 0..6000 {
            if is_so() {
                return;
            }
            thread::park_timeout(Duration::from_millis(10));
        }
        panic!("not within a minute: {what}");
    }

    #[test]
    fn the_clock_sleeps_while_no_guest_runs() {
        let engine = engine(Allocation::System, Codegen::Optimised).unwrap();
        let ticker = Ticker::start(&engine).unwrap();
        let is_asleep = || ticker.shared.asleep.load(Ordering::SeqCst);
        let guest = ticker.guest();
        for _ in 0..3 {
            until("asleep", is_asleep);
            let running = guest.run();
            until("awake", || !is_asleep());
            drop(running);
        }
        until("asleep", is_asleep);
        drop(guest.run());
        until("woken by a call that is over", || !is_asleep());
    }

    #[test]
    fn guests_that_are_gone_are_not_kept() {
        let engine = engine(Allocation::System, Codegen::Optimised).unwrap();
        let ticker = Ticker::start(&engine).unwrap();
        for _ in 0..10_000 {
            drop(ticker.guest());
        }
        assert!(ticker.shared.guests().all.len() <= 16);
    }
}
