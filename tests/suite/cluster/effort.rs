//! How much of the processors' time brokers, routers and database take.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::time::Duration;

/// Processor time so far, or in some span.
#[derive(Clone, Copy)]
pub struct Effort {
    pub brokers: Duration,
    pub routers: Duration,
    pub database: Duration,
}

/// What /proc says of a process.
struct Process {
    parent: u32,
    command: String,
    /// With that of the children that have ended.
    took: Duration,
}

impl Effort {
    /// Of the brokers with these node names, the routers with these process numbers, and
    /// the database in this folder.
    pub fn so_far(nodes: &[String], routers: &[u32], database: &Path) -> Self {
        let processes = processes();
        let took = |is_meant: &dyn Fn(u32, &Process) -> bool| {
            let meant = processes.iter().filter(|(id, process)| is_meant(**id, process));
            meant.map(|(_, process)| process.took).sum()
        };
        let is_database = |process: &Process| {
            let folder = database.display().to_string();
            process.command.contains(&folder) && !process.command.contains("postgres.sh")
        };
        Self {
            brokers: took(&|id, process| {
                process.command.contains("beam.smp") && nodes.contains(&node_of(id))
            }),
            routers: took(&|id, _| routers.contains(&id)),
            database: took(&|_, process| {
                is_database(process) || processes.get(&process.parent).is_some_and(is_database)
            }),
        }
    }

    /// What was taken since `before`.
    pub fn since(self, before: Self) -> Self {
        Self {
            brokers: self.brokers.saturating_sub(before.brokers),
            routers: self.routers.saturating_sub(before.routers),
            database: self.database.saturating_sub(before.database),
        }
    }

    /// Of each of so many events.
    pub fn each(self, events: u64) -> Self {
        let each = |took: Duration| took.div_f64(events.max(1) as f64);
        Self {
            brokers: each(self.brokers),
            routers: each(self.routers),
            database: each(self.database),
        }
    }
}

impl Effort {
    /// Of an event, in words for people: how many processors so many events a second take.
    pub fn at(self, rate: u64) -> String {
        let [brokers, routers, database] = [self.brokers, self.routers, self.database]
            .map(|each| each.as_secs_f64() * rate as f64);
        format!(
            "the brokers {brokers:.1} processors, the routers {routers:.1}, PostgreSQL {database:.1}"
        )
    }
}

impl fmt::Display for Effort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [brokers, routers, database] =
            [self.brokers, self.routers, self.database].map(|took| took.as_micros());
        write!(f, "the brokers {brokers} µs, the routers {routers} µs, PostgreSQL {database} µs")
    }
}

/// The name of the node that a process runs; empty if it has ended since.
fn node_of(id: u32) -> String {
    let environment = std::fs::read(format!("/proc/{id}/environ")).unwrap_or_default();
    let environment = String::from_utf8_lossy(&environment);
    let name = environment.split('\0').find_map(|line| line.strip_prefix("RABBITMQ_NODENAME="));
    name.unwrap_or_default().to_owned()
}

fn processes() -> HashMap<u32, Process> {
    let entries = std::fs::read_dir("/proc").expect("/proc is there").flatten();
    let process = |entry: std::fs::DirEntry| {
        let id: u32 = entry.file_name().to_str()?.parse().ok()?;
        // It may have ended since.
        let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
        let command = std::fs::read(entry.path().join("cmdline")).ok()?;
        let command = String::from_utf8_lossy(&command).replace('\0', " ");
        // The name may contain spaces; the state and the parent follow it.
        let (_, fields) = stat.rsplit_once(") ")?;
        let fields: Vec<&str> = fields.split(' ').collect();
        let parent = fields.get(1)?.parse().ok()?;
        // utime, stime, cutime and cstime, in ticks of 10 ms.
        let ticks: u64 = fields.get(11..15)?.iter().filter_map(|f| f.parse::<u64>().ok()).sum();
        Some((id, Process { parent, command, took: Duration::from_millis(ticks * 10) }))
    };
    entries.filter_map(process).collect()
}
