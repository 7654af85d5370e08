//! What the benchmarks share: which parts are asked for, and what a process takes.

#![allow(dead_code, reason = "each benchmark needs a part")]

pub mod backlog;
pub mod turns;

use std::time::Duration;

/// Whether a part of a benchmark is to be run: those that the command line names,
/// or all.
pub fn wanted(part: &str) -> bool {
    let mut asked = std::env::args().skip(1).filter(|word| !word.starts_with('-')).peekable();
    asked.peek().is_none() || asked.any(|asked| asked == part)
}

/// A size that the environment may set.
pub fn size(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().expect(variable))
}

/// User and system time of a process, from /proc/PID/stat (in ticks of 10 ms).
pub fn cpu_time(process: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    let ticks: u64 = fields.split(' ').skip(11).take(2).map(|f| f.parse::<u64>().unwrap()).sum();
    Duration::from_millis(ticks * 10)
}
