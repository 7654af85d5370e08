//! Rules that are told apart best without a session; the simulation has all of them together.

use std::time::Duration;

use uuid::Uuid;

use super::*;
use crate::clock::Clock;
use crate::event::{Datetime, Publication};
use crate::router::planned::Author;
use crate::router::stats::Outcome;
use crate::transport::{Completed, Fate};

const ATTEMPTS: u32 = 3;
const SUSPEND_AFTER: usize = 4;

/// A core, and what it had its driver do. Deliveries are settled by the number of their event.
struct Bench {
    clock: Clock,
    core: Core<u128>,
    settled: Vec<(u128, Outcome)>,
    sent: Vec<(u64, Outgoing)>,
    swapped: usize,
    given_up: Vec<usize>,
    widened: usize,
}

fn terms(version: &str, parallel: bool) -> Terms {
    let terms = sample::terms();
    let author = Author { version: version.into(), ..terms.author };
    Terms { author, attempts: ATTEMPTS, suspend_after: SUSPEND_AFTER, parallel, ..terms }
}

/// An event of one of ten persons, which was delivered so many times before.
fn event(number: u128, deliveries: u32) -> Incoming {
    let uuid = Uuid::from_u128(number % 10);
    Incoming {
        routing_key: "employee.it.create".into(),
        body: format!(r#"{{"uuid": "{uuid}", "number": {number}}}"#).into(),
        deliveries,
        ..Incoming::default()
    }
}

fn failed() -> Answer {
    Err(Failure::Retry("no".into()))
}

impl Bench {
    fn new(parallel: bool) -> Self {
        Self::with(parallel, Record::default())
    }

    fn with(parallel: bool, record: Record) -> Self {
        Self {
            clock: Clock::starting_at(Datetime::from_unix(1_700_000_000, 0).unwrap()),
            core: sample::core(terms("v1", parallel), record),
            settled: Vec::new(),
            sent: Vec::new(),
            swapped: 0,
            given_up: Vec::new(),
            widened: 0,
        }
    }

    fn deliver(&mut self, numbers: impl IntoIterator<Item = u128>, deliveries: u32) {
        for number in numbers {
            let message = event(number, deliveries);
            self.core.on_delivery(Delivery { message, receipt: number }, self.clock.read());
        }
    }

    /// All calls that can be made now.
    fn calls(&mut self) -> Vec<Job> {
        std::iter::from_fn(|| self.core.next_call()).collect()
    }

    fn answer(&mut self, job: Job, answer: Answer) {
        self.core.on_answer(job, answer, self.clock.read());
        self.perform();
    }

    fn perform(&mut self) {
        while let Some(effect) = self.core.next_effect() {
            match effect {
                Effect::Settle { receipt, outcome, .. } => self.settled.push((receipt, outcome)),
                Effect::Publish { token, outgoing, .. } => self.sent.push((token, outgoing)),
                Effect::Swap { .. } => self.swapped += 1,
                Effect::GiveUp { delivery } => self.given_up.push(delivery),
                Effect::Widen => self.widened += 1,
                Effect::Store { .. } => {}
            }
        }
    }

    fn advance(&mut self, time: Duration) {
        self.clock.set(self.clock.now().saturating_add(time));
    }

    /// The broker confirms what was sent there.
    fn confirm(&mut self, at: usize) {
        let (token, outgoing) = self.sent.remove(at);
        let completed = Completed { token, outgoing, fate: Fate::Confirmed };
        self.core.on_completed(completed, self.clock.read());
        self.perform();
    }

    /// It is time for the next retry.
    fn wait(&mut self) {
        while !self.core.has_call()
            && let Some(time) = self.core.retries.next_at()
        {
            let ahead = time.saturating_duration_since(self.clock.instant());
            self.clock.set(self.clock.now().saturating_add(ahead));
            self.core.on_time(self.clock.instant());
        }
    }
}

fn number(job: &Job) -> u128 {
    let body: serde_json::Value = serde_json::from_slice(&job.event.message.body).unwrap();
    body["number"].as_u64().unwrap().into()
}

#[test]
fn calls_that_have_not_begun_are_given_to_the_next_version() {
    let mut bench = Bench::new(true);
    bench.deliver(0..8, 0);
    // Of the person of the first.
    bench.deliver([10], 0);
    let mut calls = bench.calls();
    assert_eq!(calls.iter().map(number).collect::<Vec<_>>(), (0..8).collect::<Vec<_>>());
    bench.core.on_version(terms("v2", true));
    assert!(!bench.core.is_routing() && !bench.core.has_call());
    for job in calls.drain(5..) {
        bench.answer(job, Ok(Vec::new()));
    }
    assert_eq!((bench.swapped, bench.settled.len()), (0, 3));
    for job in calls {
        bench.core.on_not_begun(job);
        bench.perform();
    }
    assert_eq!((bench.swapped, bench.core.terms().author.version.as_str()), (1, "v2"));

    let calls = bench.calls();
    assert_eq!(calls.iter().map(number).collect::<Vec<_>>(), (0..5).collect::<Vec<_>>());
    assert!(calls.iter().all(|job| job.attempt == 1));
    for job in calls {
        bench.answer(job, Ok(Vec::new()));
    }
    let behind = bench.calls().pop().expect("the one behind the first");
    assert_eq!(number(&behind), 10);
    bench.answer(behind, Ok(Vec::new()));
    bench.settled.sort_unstable_by_key(|settled| settled.0);
    let settled: Vec<u128> = bench.settled.iter().map(|settled| settled.0).collect();
    assert_eq!(settled, [0, 1, 2, 3, 4, 5, 6, 7, 10]);
}

#[test]
fn calls_that_have_not_begun_hold_up_no_end() {
    let mut bench = Bench::new(true);
    bench.deliver(0..8, 0);
    let mut calls = bench.calls();
    bench.core.on_stop(bench.clock.instant());
    bench.answer(calls.remove(0), Ok(Vec::new()));
    for job in calls {
        assert_eq!(bench.core.ended(), None);
        bench.core.on_not_begun(job);
    }
    assert_eq!(bench.core.ended(), Some(End::Stopped));
    assert_eq!(bench.settled.len(), 1);
    assert!(bench.core.next_call().is_none());
}

#[test]
fn only_what_the_plugin_is_not_known_to_fail_on_suspends_it() {
    let mut known = Failures::default();
    (0..8).for_each(|number| known.note(identity(&event(number, 1)), 1));
    let mut bench = Bench::with(false, Record { failures: known, ..Record::default() });
    bench.deliver(0..8, 1);
    for _ in 0..8 {
        let job = bench.core.next_call().unwrap();
        bench.answer(job, failed());
    }
    assert_eq!(bench.core.ending(), None);

    let mut bench = Bench::new(false);
    bench.deliver(0..8, 0);
    for _ in 0..SUSPEND_AFTER {
        assert_eq!(bench.core.ending(), None);
        let job = bench.core.next_call().unwrap();
        bench.answer(job, failed());
    }
    assert_eq!(bench.core.ending(), Some(End::Suspended));
}

#[test]
fn attempts_go_on_where_they_were_in_the_session_before() {
    let mut record = Record::default();
    for attempt in 1..=ATTEMPTS {
        let mut bench = Bench::with(false, record);
        bench.deliver([7], attempt - 1);
        let job = bench.core.next_call().unwrap();
        assert_eq!(job.attempt, attempt);
        bench.answer(job, failed());
        assert_eq!(bench.sent.len(), usize::from(attempt == ATTEMPTS), "attempt {attempt}");
        if let Some((_, Outgoing::Dead(letter))) = bench.sent.pop() {
            assert_eq!((letter.attempts, &letter.reason[..]), (3, "no (attempt 3 of 3)"));
        }
        record = bench.core.take_record();
    }
    // Nobody remembers the attempts of one that is dead, or of another router's.
    let mut bench = Bench::with(false, record);
    bench.deliver([7, 8], 9);
    let attempts = |job: Job| (number(&job), job.attempt);
    assert_eq!(bench.core.next_call().map(attempts), Some((7, ATTEMPTS - 1)));
    assert_eq!(bench.core.next_call().map(attempts), Some((8, ATTEMPTS - 1)));
}

#[test]
fn an_event_is_tried_as_often_as_is_allowed_within_a_session() {
    let mut bench = Bench::new(false);
    bench.deliver([7], 0);
    for attempt in 1..=ATTEMPTS {
        bench.wait();
        let job = bench.core.next_call().unwrap();
        assert_eq!(job.attempt, attempt);
        bench.answer(job, failed());
    }
    assert!(matches!(&bench.sent[..], [(_, Outgoing::Dead(_))]), "{:?}", bench.sent);
}

#[test]
fn a_new_version_has_all_attempts_for_what_the_old_one_failed_on() {
    // What has only arrived takes its turn at a call, which there may be none of.
    let next = |bench: &mut Bench| match bench.core.next_call() {
        Some(job) => job,
        None => {
            bench.wait();
            bench.core.next_call().unwrap()
        }
    };
    let mut bench = Bench::new(false);
    // The second waits behind the first, and was delivered before.
    bench.deliver([7], 0);
    bench.deliver([17], 9);
    for _ in 1..ATTEMPTS {
        let job = next(&mut bench);
        bench.answer(job, failed());
    }
    bench.core.on_version(terms("v2", false));
    bench.perform();
    assert_eq!((bench.swapped, bench.core.has_call()), (1, true));
    for attempt in 1..=ATTEMPTS {
        let job = next(&mut bench);
        assert_eq!((number(&job), job.attempt, job.fresh), (7, attempt, false));
        bench.answer(job, failed());
    }
    let job = next(&mut bench);
    assert_eq!((number(&job), job.attempt), (17, 1));
    assert_eq!(bench.sent.len(), 1);
    assert_eq!(bench.core.ending(), None, "it is not judged by what was to be retried");
}

#[test]
fn a_version_that_comes_between_two_sessions_has_all_attempts_too() {
    let mut bench = Bench::new(false);
    bench.deliver([7], 0);
    let job = bench.core.next_call().unwrap();
    bench.answer(job, failed());
    let mut record = bench.core.take_record();
    record.start_anew();
    let mut bench = Bench::with(false, record);
    bench.deliver([7], 1);
    let job = bench.core.next_call().unwrap();
    assert_eq!((job.attempt, job.fresh), (1, false));
}

/// Three events, a second apart, whose messages are sent; the hold of the first is over.
fn unconfirmed(confirmed: Option<usize>) -> Bench {
    let mut bench = Bench::new(false);
    for number in 0..3 {
        bench.deliver([number], 0);
        let job = bench.core.next_call().unwrap();
        bench.answer(job, Ok(vec![Publication::default()]));
        bench.advance(Duration::from_secs(1));
    }
    if let Some(at) = confirmed {
        bench.confirm(at);
    }
    bench.advance(Limit::HOLD);
    bench.core.on_time(bench.clock.instant());
    bench.perform();
    bench
}

#[test]
fn what_the_broker_never_confirms_is_a_dead_letter_if_it_confirms_what_came_after_it() {
    let mut bench = unconfirmed(Some(1));
    // The third may be confirmed yet.
    assert_eq!((bench.given_up.len(), bench.core.ending()), (1, None));
    let tokens: Vec<u64> = tokens_of(bench.given_up[0]).collect();
    let (token, message) = bench.sent.remove(0);
    assert!(tokens.contains(&token) && !tokens.contains(&bench.sent[0].0));
    bench.core.on_not_confirmed(token, message, bench.clock.read());
    bench.perform();
    let Some((_, Outgoing::Dead(letter))) = bench.sent.last() else { panic!("{:?}", bench.sent) };
    assert!(letter.reason.starts_with("not confirmed within 600s"), "{}", letter.reason);
    assert_eq!(bench.core.in_flight().publications, 2);
    bench.confirm(bench.sent.len() - 1);
    assert_eq!(bench.settled.last(), Some(&(0, Outcome::Dead)));
}

/// It waits for something else than a confirm: what the broker says of its exchange.
#[test]
fn what_was_not_sent_is_no_dead_letter_and_the_session_is_renewed() {
    let mut bench = unconfirmed(Some(1));
    assert_eq!((bench.given_up.len(), bench.core.ending()), (1, None));
    let sent = bench.sent.len();
    // There was nothing to give up.
    bench.advance(Duration::from_secs(10));
    bench.core.on_time(bench.clock.instant());
    bench.perform();
    assert_eq!(
        (bench.sent.len(), bench.core.ending()),
        (sent, Some(End::Overdue { is_answered: true }))
    );
}

#[test]
fn what_is_stuck_is_told_until_something_is_settled_whatever_is_renewed() {
    let mut bench = unconfirmed(None);
    let (clock, stats) = (bench.clock.clone(), Arc::clone(&bench.core.stats));
    let told = || stats.oldest(clock.instant()).map(|(age, _)| age.as_secs() / 60);
    assert_eq!((bench.core.ending(), told()), (Some(End::Overdue { is_answered: true }), Some(10)));
    let record = bench.core.take_record();
    assert_eq!(told(), Some(10), "it comes again");

    let mut next = Bench { clock: clock.clone(), ..Bench::with(false, record) };
    next.core.stats = Arc::clone(&stats);
    next.deliver(0..3, 1);
    assert_eq!(told(), Some(10));
    next.advance(Duration::from_mins(2));
    next.core.on_time(next.clock.instant());
    assert_eq!(told(), Some(12), "it has been stuck since it was first delivered");
    let job = next.core.next_call().unwrap();
    next.answer(job, Ok(Vec::new()));
    assert_eq!((next.settled.len(), told()), (1, None));

    // Another router has what was given back.
    let mut bench = unconfirmed(None);
    let (clock, stats) = (bench.clock.clone(), Arc::clone(&bench.core.stats));
    bench.core.take_record();
    assert!(stats.oldest(clock.instant()).is_some());
    bench.advance(Duration::from_mins(2));
    assert_eq!(stats.oldest(clock.instant()), None);
}

#[test]
fn where_the_broker_confirms_nothing_that_came_after_it_all_goes_back() {
    for confirmed in [None, Some(0)] {
        let mut bench = unconfirmed(confirmed);
        if confirmed.is_some() {
            // The next one has been held for as long.
            bench.advance(Duration::from_secs(20));
            bench.core.on_time(bench.clock.instant());
        }
        assert_eq!(
            (bench.given_up.len(), bench.core.ending()),
            (0, Some(End::Overdue { is_answered: true }))
        );
    }
}

/// Of one person, fewer than may be in flight.
fn one_person(bench: &mut Bench, events: u128) {
    bench.deliver((0..events).map(|number| number * 10), 0);
    let job = bench.core.next_call().unwrap();
    bench.answer(job, failed());
    assert!(bench.core.next_call().is_none(), "the others wait behind it");
}

#[test]
fn others_are_asked_for_where_the_inbox_gives_no_more() {
    for events in [1, 2, 30] {
        let mut bench = Bench::new(false);
        one_person(&mut bench, events);
        bench.core.make_room(false);
        bench.perform();
        assert_eq!((bench.widened, bench.core.is_crowded()), (0, true), "more come by themselves");
        bench.core.make_room(true);
        bench.perform();
        assert_eq!((bench.widened, bench.core.has_room()), (1, true));
        // Those that come have their turn.
        bench.deliver((0..events).map(|number| 1 + number * 10), 0);
        assert!(bench.core.next_call().is_some());
    }
}

#[test]
fn where_most_can_go_on_no_others_are_asked_for() {
    let mut bench = Bench::new(false);
    one_person(&mut bench, 3);
    bench.deliver(1..4, 0);
    bench.core.make_room(true);
    bench.perform();
    assert_eq!((bench.widened, bench.core.is_crowded()), (0, false));
}

#[test]
fn a_breaker_that_opens_while_the_session_ends_suspends_the_plugin() {
    for stopped in [false, true] {
        let mut bench = Bench::new(true);
        bench.deliver(0..8, 0);
        let calls = bench.calls();
        let now = bench.clock.instant();
        if stopped {
            bench.core.on_stop(now);
        } else {
            bench.core.on_overfull(5, now);
        }
        for job in calls {
            bench.answer(job, failed());
        }
        let end = if stopped { End::Stopped } else { End::Suspended };
        assert_eq!(bench.core.ending(), Some(end));
        assert!(bench.core.take_record().breaker.is_open());
    }
}

/// Whatever else it ends for: what that may take does not outlast what the stop may.
#[test]
fn a_stop_while_it_ends_takes_no_longer() {
    for suspended in [false, true] {
        let mut bench = Bench::new(true);
        bench.core.limit.finish = Duration::from_secs(2);
        bench.deliver(0..8, 0);
        let mut calls = bench.calls();
        let _in_flight = calls.pop();
        match suspended {
            true => calls.into_iter().for_each(|job| bench.answer(job, failed())),
            false => bench.core.on_overfull(5, bench.clock.instant()),
        }
        assert_ne!(bench.core.ending(), None);
        assert!(!bench.core.is_stopping());
        bench.core.on_stop(bench.clock.instant());
        for (after, ended) in [(1, None), (1, Some(End::Stopped))] {
            bench.advance(Duration::from_secs(after));
            bench.core.on_time(bench.clock.instant());
            assert_eq!(bench.core.ended(), ended);
        }
    }
}

#[test]
fn a_stop_waits_as_long_as_it_may_for_what_is_in_flight() {
    let mut bench = Bench::new(false);
    bench.core.limit.finish = Duration::from_mins(2);
    bench.deliver([1], 0);
    let job = bench.core.next_call().unwrap();
    bench.answer(job, Ok(vec![Publication::default()]));
    bench.core.on_stop(bench.clock.instant());
    for (after, ended) in [(119, None), (1, Some(End::Stopped))] {
        bench.advance(Duration::from_secs(after));
        bench.core.on_time(bench.clock.instant());
        assert_eq!((bench.core.ended(), bench.core.is_cut_off()), (ended, ended.is_some()));
    }
    bench.confirm(0);
    assert!(!bench.core.is_cut_off());
}
