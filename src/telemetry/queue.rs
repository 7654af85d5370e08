//! Finished spans that wait to be sent: of limited number and size, so that a collector that is slow
//! or unreachable costs spans and nothing else.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::telemetry::span::Span;

/// The most spans that wait, and the most bytes of them.
const WAITING: usize = 8192;
const WAITING_BYTES: usize = 8 << 20;
/// How many spans are sent together at most, and bytes of them; a single one may be larger.
const TOGETHER: usize = 512;
const BYTES_TOGETHER: usize = 1 << 20;
/// How long a span waits for others to be sent with.
const GATHER: Duration = Duration::from_secs(1);

/// What became of spans.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SpanCounts {
    /// The collector has them.
    pub sent: u64,
    /// There was no room for them, or the collector did not take them.
    pub lost: u64,
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    spans: VecDeque<Span>,
    bytes: usize,
    counts: SpanCounts,
    closed: bool,
}

impl Queue {
    /// Adds spans, as far as there is room. Waits for nobody who waits for anything else.
    pub fn push(&self, spans: impl IntoIterator<Item = Span>) {
        let mut wakes = false;
        let mut state = self.state();
        for span in spans {
            let size = span.size();
            if state.spans.len() >= WAITING || state.bytes + size > WAITING_BYTES {
                state.counts.lost += 1;
                continue;
            }
            state.bytes += size;
            state.spans.push_back(span);
            wakes |= matches!(state.spans.len(), 1 | TOGETHER);
        }
        drop(state);
        if wakes {
            self.changed.notify_all();
        }
    }

    /// Blocks until there are spans and some time was given to others to join them, or until the
    /// queue is closed; then without spans, if there are none left.
    pub fn wait(&self) -> Vec<Span> {
        let state = self.state();
        let is_empty = |state: &mut State| state.spans.is_empty() && !state.closed;
        let state = self.changed.wait_while(state, is_empty);
        let is_few = |state: &mut State| state.spans.len() < TOGETHER && !state.closed;
        let state = state.unwrap_or_else(PoisonError::into_inner);
        let waited = self.changed.wait_timeout_while(state, GATHER, is_few);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.take()
    }

    /// Blocks for some time, or until the queue is closed; says whether it is.
    pub fn pause(&self, time: Duration) -> bool {
        let waited = self.changed.wait_timeout_while(self.state(), time, |state| !state.closed);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.closed
    }

    /// Nobody waits any more.
    pub fn close(&self) {
        self.state().closed = true;
        self.changed.notify_all();
    }

    /// So many were sent, or lost.
    pub fn count(&self, sent: u64, lost: u64) {
        let mut state = self.state();
        state.counts.sent += sent;
        state.counts.lost += lost;
    }

    /// What became of spans so far.
    pub fn counts(&self) -> SpanCounts {
        self.state().counts
    }

    #[cfg(test)]
    pub fn take_all(&self) -> Vec<crate::telemetry::proto::SpanMessage> {
        self.state().spans.drain(..).map(Span::into_message).collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No holder leaves anything half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn take(&mut self) -> Vec<Span> {
        let (mut spans, mut bytes) = (Vec::new(), 0);
        while let Some(span) = self.spans.front() {
            bytes += span.size();
            let is_full = spans.len() >= TOGETHER || bytes > BYTES_TOGETHER;
            if is_full && !spans.is_empty() {
                break;
            }
            let Some(span) = self.spans.pop_front() else { break };
            self.bytes -= span.size();
            spans.push(span);
        }
        spans
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Datetime;
    use crate::telemetry::{Kind, SpanContext};

    fn span(text: &str) -> Span {
        let context = SpanContext { trace_id: 1, span_id: 1, sampled: true };
        Span::new(context, Kind::Internal, text, Datetime::NO_DATE)
    }

    fn large(bytes: usize) -> Span {
        let text = "x".repeat(1 << 10);
        (0..bytes >> 10).fold(span("large"), |span, _| span.with("text", &text))
    }

    #[test]
    fn what_has_no_room_is_lost_and_counted() {
        let queue = Queue::default();
        (0..WAITING + 3).for_each(|_| queue.push([span("small")]));
        assert_eq!(queue.counts(), SpanCounts { sent: 0, lost: 3 });
        let taken = queue.wait();
        assert_eq!(taken.len(), TOGETHER);
        queue.push([span("there is room again")]);
        queue.count(TOGETHER as u64, 0);
        assert_eq!(queue.counts(), SpanCounts { sent: TOGETHER as u64, lost: 3 });
    }

    #[test]
    fn large_spans_are_bounded_in_bytes() {
        let queue = Queue::default();
        (0..32).for_each(|_| queue.push([large(BYTES_TOGETHER / 2)]));
        let most = WAITING_BYTES / (BYTES_TOGETHER / 2);
        assert!((1..=32 - most as u64 + 1).contains(&queue.counts().lost), "{:?}", queue.counts());
        queue.close();
        assert_eq!(queue.wait().len(), 1, "two are more than are sent together");
        queue.state().spans.clear();
        queue.state().bytes = 0;
        queue.push([large(2 * BYTES_TOGETHER)]);
        assert_eq!(queue.wait().len(), 1, "a single one is sent");
    }

    #[test]
    fn closed_it_gives_what_is_left() {
        let queue = Queue::default();
        queue.push([span("last")]);
        queue.close();
        assert!(queue.pause(Duration::from_secs(3600)));
        assert_eq!(queue.wait().len(), 1);
        assert!(queue.wait().is_empty());
    }
}
