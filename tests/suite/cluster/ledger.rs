//! What was sent and what arrived, stage by stage.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::ops::Range;
use std::time::Duration;

use tokio::time::Instant;

/// The numbers of delayed events begin here.
pub const LATER_FROM: u64 = 1_000_000_000;

/// The whole account.
#[derive(Default)]
pub struct Ledger {
    streams: [Stream; 2],
    stages: Vec<Stage>,
}

/// Either the events that are forwarded at once or those that are delayed.
#[derive(Default)]
struct Stream {
    /// How many have been sent.
    sent: u64,
    /// How often each has arrived.
    arrived: Vec<u32>,
    /// How many different ones have arrived.
    different: u64,
    /// One more than the highest number that has arrived.
    highest: u64,
    /// The highest number that has arrived of each person.
    of_person: HashMap<u64, u64>,
    last_arrival: Option<Instant>,
}

/// What happened, and to which events.
struct Stage {
    name: &'static str,
    sent: u64,
    sent_again: u64,
    /// Different ones that arrived.
    delivered: u64,
    again: u64,
    /// Dead letters.
    dead: u64,
    out_of_order: u64,
    outages: [Duration; 2],
}

fn stream(number: u64) -> (usize, u64) {
    if number < LATER_FROM { (0, number) } else { (1, number - LATER_FROM) }
}

impl Ledger {
    /// From now on everything belongs to a stage of this name.
    pub fn begin(&mut self, name: &'static str) {
        let outages = [Duration::ZERO; 2];
        self.stages.push(Stage {
            name,
            sent: 0,
            sent_again: 0,
            delivered: 0,
            again: 0,
            dead: 0,
            out_of_order: 0,
            outages,
        });
    }

    /// These are sent now.
    pub fn note_sent(&mut self, numbers: Range<u64>) {
        let count = numbers.end - numbers.start;
        let (index, _) = stream(numbers.start);
        let stream = &mut self.streams[index];
        stream.sent += count;
        stream.arrived.resize(stream.sent as usize, 0);
        if let Some(stage) = self.stages.last_mut() {
            stage.sent += count;
        }
    }

    /// So many had to be sent once more, since their confirms did not come.
    pub fn note_sent_again(&mut self, count: u64) {
        if let Some(stage) = self.stages.last_mut() {
            stage.sent_again += count;
        }
    }

    /// So many dead letters wait: those that did not wait before are of this stage.
    pub fn note_dead(&mut self, waiting: u64) {
        let before: u64 = self.stages.iter().map(|stage| stage.dead).sum();
        if let Some(stage) = self.stages.last_mut() {
            stage.dead += waiting.saturating_sub(before);
        }
    }

    /// One has arrived. What is delivered to the consumer once more, since it had no time to
    /// acknowledge it, counts only if it is new.
    pub fn note_arrival(&mut self, number: u64, redelivered: bool) {
        let (index, number) = stream(number);
        let stream = &mut self.streams[index];
        let Some(times) = stream.arrived.get_mut(number as usize) else {
            panic!("{number} arrived before it was sent");
        };
        *times += 1;
        let is_new = *times == 1;
        if !is_new && redelivered {
            return;
        }
        let person = stream.of_person.entry(number % 100).or_default();
        // One that was on its way to a consumer that is gone comes to the next one behind others.
        let is_late = is_new && !redelivered && *person > number;
        *person = number.max(*person);
        stream.different += u64::from(is_new);
        stream.highest = stream.highest.max(number + 1);
        let now = Instant::now();
        let silence = stream.last_arrival.map_or(Duration::ZERO, |last| now - last);
        stream.last_arrival = Some(now);
        if let Some(stage) = self.stages.last_mut() {
            stage.delivered += u64::from(is_new);
            stage.again += u64::from(!is_new);
            // Two routers release delayed messages side by side: no order is promised for them.
            stage.out_of_order += u64::from(is_late && index == 0);
            stage.outages[index] = stage.outages[index].max(silence);
        }
    }

    /// How many of each stream have been sent.
    pub fn sent(&self) -> [u64; 2] {
        [0, 1].map(|index| self.streams[index].sent)
    }

    /// One more than the highest number of each stream that has arrived.
    pub fn highest(&self) -> [u64; 2] {
        [0, 1].map(|index| self.streams[index].highest)
    }

    /// How many of each stream have not arrived.
    pub fn lost(&self) -> [u64; 2] {
        [0, 1].map(|index| self.streams[index].sent - self.streams[index].different)
    }

    /// How many events of the first stream arrived after a later one of the same person.
    pub fn out_of_order(&self) -> u64 {
        self.stages.iter().map(|stage| stage.out_of_order).sum()
    }

    /// A row for each stage, as Markdown.
    pub fn table(&self) -> String {
        let mut table = "| what happens | sent | sent again | delivered | arrived again | dead \
                         | out of order | longest silence, at once | delayed |\n\
                         |---|---|---|---|---|---|---|---|---|\n"
            .to_owned();
        for stage in &self.stages {
            let Stage { name, sent, sent_again, delivered, again, dead, out_of_order, outages } =
                stage;
            let [now, later] = outages.map(|outage| outage.as_secs_f64());
            let _ = writeln!(
                table,
                "| {name} | {sent} | {sent_again} | {delivered} | {again} | {dead} | {out_of_order} \
                 | {now:.1} s | {later:.1} s |"
            );
        }
        let [now, later] = self.sent();
        let _ =
            writeln!(table, "\n{now} events at once and {later} delayed: lost {:?}", self.lost());
        table
    }
}
