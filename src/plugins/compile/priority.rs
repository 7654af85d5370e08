//! How much of the processors the compiler gets: what others leave, and where that is nothing, a share.

use std::fs;
use std::future::pending;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::procfs::processor_time;

/// The niceness at which everything else waits for nothing that the compiler does.
pub const LOWEST: i32 = 19;

/// The niceness of a compiler that got next to nothing at the lowest priority. Beside one thread that is
/// always busy it has a quarter of a processor (335 parts of 1359, by Linux's table), and so has
/// its time of the processors within the time on the clock that it is given.
pub(super) const LOW: i32 = 5;

/// How often it is looked at what the compiler got.
const LOOKED_AT_EVERY: Duration = Duration::from_secs(5);

/// Whoever gets less than one part of so many of one processor is starved.
const LEAST_SHARE: u32 = 20;

/// The machine leaves a process next to nothing of its processors.
#[derive(Debug, thiserror::Error)]
#[error("the machine is too busy to compile at the lowest priority")]
pub(super) struct Starved;

/// Comes back when a process is starved that has only just started and does nothing but compute. Never
/// where the system does not say what a process got.
pub(super) async fn starved(process: u32) -> Starved {
    let started = Instant::now();
    loop {
        sleep(LOOKED_AT_EVERY).await;
        let stat = fs::read_to_string(format!("/proc/{process}/stat"));
        match stat.ok().as_deref().and_then(processor_time) {
            Some(taken) if taken < started.elapsed() / LEAST_SHARE => return Starved,
            Some(_) => {}
            None => pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command, Stdio};

    use super::*;

    fn process(program: &str, argument: &str) -> Child {
        Command::new(program).arg(argument).stdout(Stdio::null()).spawn().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn who_gets_next_to_nothing_is_starved() {
        let mut asleep = process("sleep", "1000");
        let waiting = tokio::time::timeout(Duration::from_secs(60), starved(asleep.id()));
        waiting.await.unwrap();
        asleep.kill().unwrap();
        asleep.wait().unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn who_computes_or_is_not_known_is_not() {
        let mut busy = process("yes", "");
        let enough = || {
            let stat = fs::read_to_string(format!("/proc/{}/stat", busy.id())).unwrap();
            processor_time(&stat) > Some(LOOKED_AT_EVERY * 2 / LEAST_SHARE)
        };
        while !enough() {
            std::thread::yield_now();
        }
        // It is looked at once: the clock is not the processor's.
        let once = LOOKED_AT_EVERY + LOOKED_AT_EVERY / 2;
        let computes = tokio::time::timeout(once, starved(busy.id())).await;
        busy.kill().unwrap();
        busy.wait().unwrap();
        let unknown = tokio::time::timeout(Duration::from_secs(600), starved(busy.id())).await;
        assert!(computes.is_err() && unknown.is_err(), "{computes:?} {unknown:?}");
    }
}
