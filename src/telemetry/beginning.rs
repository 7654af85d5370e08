//! Events that the router itself brings, as spans.
//!
//! MO's GraphQL events belong to no trace. So each begins one when it is published, and every plugin
//! that gets it goes on with that: otherwise one change would be as many traces as there are plugins.

use std::collections::HashMap;

use anyhow::Result;

use super::context::SpanContext;
use super::span::Span;
use super::tracer::{Ids, Tracer, failure};
use crate::clock::Clock;
use crate::event::Outgoing;
use crate::transport::{Completed, Outbox};

/// An outbox for events, and a trace for each of them.
pub struct Beginning<O> {
    outbox: O,
    /// None: there are no traces.
    tracer: Option<Tracer>,
    clock: Clock,
    ids: Ids,
    /// By token: those that are recorded and whose fate is not known.
    spans: HashMap<u64, Span>,
}

impl<O> Beginning<O> {
    /// What is published through `outbox`. Of the messages in flight, no two have the same token.
    pub fn new(outbox: O, tracer: Option<Tracer>, clock: Clock) -> Self {
        Self { outbox, tracer, clock, ids: Ids::random(), spans: HashMap::new() }
    }

    fn on_send(&mut self, token: u64, outgoing: &mut Outgoing) {
        let Some(tracer) = &self.tracer else { return };
        let trace_id = self.ids.trace();
        let sampled = tracer.records(None, trace_id);
        let context = SpanContext { trace_id, span_id: self.ids.span(), sampled };
        // One that is not recorded says so: whoever gets it must not decide otherwise.
        if context.put(&mut outgoing.message_mut().properties, "") && sampled {
            self.spans.insert(token, tracer.publishing(context, outgoing, self.clock.now()));
        }
    }

    fn end(&mut self, token: u64, failure: Option<(&'static str, &str)>) {
        let (Some(tracer), Some(span)) = (&self.tracer, self.spans.remove(&token)) else { return };
        let span = match failure {
            Some((kind, reason)) => span.failed(kind, reason),
            None => span,
        };
        tracer.finish(span.ended(self.clock.now()));
    }
}

impl<O: Outbox + Send> Outbox for Beginning<O> {
    fn send(&mut self, token: u64, mut outgoing: Outgoing) {
        self.on_send(token, &mut outgoing);
        self.outbox.send(token, outgoing);
    }

    fn copy(&mut self, token: u64) -> Option<Outgoing> {
        self.outbox.copy(token)
    }

    fn abandon(&mut self, token: u64) -> Option<Outgoing> {
        let outgoing = self.outbox.abandon(token)?;
        self.end(token, Some(("not_confirmed", "nobody waits for it any more")));
        Some(outgoing)
    }

    fn withdraw(&mut self, token: u64) -> Option<Outgoing> {
        let outgoing = self.outbox.withdraw(token)?;
        self.end(token, Some(("not_confirmed", "nobody waits for it any more")));
        Some(outgoing)
    }

    async fn completed(&mut self) -> Result<Completed> {
        // Nothing is waited for after it.
        let completed = self.outbox.completed().await?;
        self.end(completed.token, failure(&completed.fate));
        Ok(completed)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use futures::FutureExt;

    use super::*;
    use crate::event::{Datetime, Message};
    use crate::transport::Fate;

    /// Gives each message the next fate.
    struct Fates(VecDeque<Fate>, VecDeque<(u64, Outgoing)>);

    impl Outbox for Fates {
        fn send(&mut self, token: u64, outgoing: Outgoing) {
            self.1.push_back((token, outgoing));
        }

        fn copy(&mut self, _: u64) -> Option<Outgoing> {
            None
        }

        fn abandon(&mut self, _: u64) -> Option<Outgoing> {
            None
        }

        fn withdraw(&mut self, _: u64) -> Option<Outgoing> {
            None
        }

        async fn completed(&mut self) -> Result<Completed> {
            let (token, outgoing) = self.1.pop_front().unwrap();
            Ok(Completed { token, outgoing, fate: self.0.pop_front().unwrap() })
        }
    }

    /// Publishes with the same token again and again; gives the contexts.
    fn published(tracer: Option<Tracer>, fates: Vec<Fate>) -> Vec<Option<SpanContext>> {
        let clock = Clock::starting_at(Datetime::from_unix(1_700_000_000, 0).unwrap());
        let count = fates.len();
        let mut outbox = Beginning::new(Fates(fates.into(), VecDeque::new()), tracer, clock);
        let send = |_| {
            outbox.send(1, Outgoing::Message(Message::default()));
            let completed = outbox.completed().now_or_never().unwrap().unwrap();
            SpanContext::of(&completed.outgoing.message().properties)
        };
        (0..count).map(send).collect()
    }

    #[test]
    fn each_event_begins_a_trace() {
        let tracer = Tracer::unsent(1.0);
        let returned = Fate::Returned("no queue".into());
        let contexts = published(Some(tracer.clone()), vec![returned, Fate::Confirmed]);
        let spans = tracer.finished();
        assert_eq!(spans.len(), 2);
        for (context, span) in contexts.iter().zip(&spans) {
            let context = context.unwrap();
            assert!(context.sampled && span.parent_span_id.is_empty());
            assert_eq!(span.trace_id, context.trace_id.to_be_bytes());
            assert_eq!(span.span_id, context.span_id.to_be_bytes());
        }
        assert_ne!(spans[0].trace_id, spans[1].trace_id);
        assert!(spans[0].status.is_some() && spans[1].status.is_none());
    }

    #[test]
    fn what_is_not_recorded_says_so_and_without_traces_nothing_is_said() {
        let tracer = Tracer::unsent(0.0);
        let contexts = published(Some(tracer.clone()), vec![Fate::Confirmed]);
        assert!(contexts[0].is_some_and(|context| !context.sampled));
        assert!(tracer.finished().is_empty());
        assert_eq!(published(None, vec![Fate::Confirmed]), [None]);
    }
}
