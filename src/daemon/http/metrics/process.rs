//! What the system says of the process, under the names that every program uses.

use std::fmt::Result;
use std::fs;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use super::Out;
use crate::event::Datetime;
use crate::procfs::processor_time;

/// The process at one moment. What the system does not say is not told.
#[derive(Debug)]
pub(super) struct Process {
    started: Datetime,
    processor_time: Option<Duration>,
    resident: Option<u64>,
    virtual_memory: Option<u64>,
    threads: Option<u64>,
    open_files: Option<usize>,
    most_files: Option<u64>,
}

impl Process {
    /// Reads it, which takes microseconds.
    pub(super) fn read(started: Datetime) -> Self {
        let file =
            |name: &str| fs::read_to_string(format!("/proc/self/{name}")).unwrap_or_default();
        let (status, stat, limits) = (file("status"), file("stat"), file("limits"));
        let kib = |name| number_after(&status, name).map(|kib| kib * 1024);
        Self {
            started,
            processor_time: processor_time(&stat),
            resident: kib("VmRSS:"),
            virtual_memory: kib("VmSize:"),
            threads: number_after(&status, "Threads:"),
            // One of them is the folder itself.
            open_files: fs::read_dir("/proc/self/fd").ok().map(|files| files.count() - 1),
            most_files: number_after(&limits, "Max open files"),
        }
    }
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result {
        let mut out = Out(&mut encoder);
        if let Some(time) = self.processor_time {
            let seconds = time.as_secs_f64();
            let kind = prometheus_client::metrics::MetricType::Counter;
            let help = "Processor time, user and system";
            out.family("process_cpu_seconds", help, kind, [([], seconds)], |encoder, value| {
                encoder.encode_counter::<[(&str, &str); 0], _, f64>(&value, None)
            })?;
        }
        let started = [([], self.started.seconds() as f64)];
        out.gauge("process_start_time_seconds", "When the process started", started)?;
        let gauges = [
            ("process_resident_memory_bytes", "Memory in use", self.resident),
            ("process_virtual_memory_bytes", "Addresses in use", self.virtual_memory),
            ("process_threads", "Threads", self.threads),
            ("process_open_fds", "Open files and connections", self.open_files.map(|n| n as u64)),
            ("process_max_fds", "How many of them the system allows", self.most_files),
        ];
        for (name, help, value) in gauges {
            out.gauge(name, help, value.map(|value| ([], value as f64)))?;
        }
        Ok(())
    }
}

/// The first number behind a name at the start of a line.
fn number_after(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_writes_is_read() {
        let status = "Name:\tx\nVmRSS:\t   12 kB\nThreads:\t3\n";
        assert_eq!(
            (number_after(status, "VmRSS:"), number_after(status, "Nothing:")),
            (Some(12), None)
        );
        let process = Process::read(Datetime::from_unix(0, 0).unwrap());
        assert!(process.resident > Some(1 << 20) && process.open_files > Some(2), "{process:?}");
        assert!(process.most_files > Some(2) && process.processor_time.is_some(), "{process:?}");
    }
}
