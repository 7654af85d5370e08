//! A claim from when its messages are sent until it is settled.

use anyhow::Result;
use tokio::time::Instant;

use crate::delay::claim::Hold;
use crate::delay::record::Outcome;

/// The token of the first of the claim's messages that is sent; the others' follow.
pub type ClaimNumber = u64;

/// A claim of which messages are in flight.
pub struct UnsettledClaim<'a> {
    pub hold: Hold<'a>,
    /// How many of them are.
    pub left: usize,
    /// What became of the others.
    pub outcome: Outcome,
    /// Since when all that is left of it could have been let go.
    pub since: Instant,
}

/// A claim of which nothing is in flight any more.
pub struct Finished<'a> {
    number: ClaimNumber,
    hold: Hold<'a>,
    outcome: Outcome,
}

/// A claim that the store was asked to settle.
pub struct Settled {
    pub number: ClaimNumber,
    /// The ids of its messages.
    pub ids: Vec<i64>,
    /// Whether any of its messages are still in the store. All are after an error, and due.
    pub stays: Result<bool>,
}

impl<'a> UnsettledClaim<'a> {
    /// Nothing of it is left.
    pub fn finished(self, number: ClaimNumber) -> Finished<'a> {
        Finished { number, hold: self.hold, outcome: self.outcome }
    }
}

impl Finished<'_> {
    /// Removes what was sent from the store, and puts off the rest.
    pub async fn settle(self) -> Settled {
        let Outcome { sent, put_off } = &self.outcome;
        let ids = sent.iter().map(|(id, _)| *id).chain(put_off.iter().map(|(_, one)| one.id));
        let ids = ids.collect();
        Settled { number: self.number, ids, stays: self.hold.settle(self.outcome).await }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::mem;
    use std::time::Duration;

    use super::super::in_flight::InFlight;
    use crate::clock::Clock;
    use crate::delay::{Filter, Store};
    use crate::event::{Delayed, Message, Outgoing};
    use crate::settings::StoreUrl;
    use crate::transport::{Completed, Fate, Outbox};

    /// A broker that confirms when the test does.
    #[derive(Default)]
    struct Unconfirmed(BTreeMap<u64, Outgoing>);

    impl Outbox for Unconfirmed {
        fn send(&mut self, token: u64, outgoing: Outgoing) {
            self.0.insert(token, outgoing);
        }

        fn copy(&mut self, token: u64) -> Option<Outgoing> {
            self.0.get(&token).cloned()
        }

        fn abandon(&mut self, token: u64) -> Option<Outgoing> {
            self.0.remove(&token)
        }

        fn withdraw(&mut self, token: u64) -> Option<Outgoing> {
            self.abandon(token)
        }

        async fn completed(&mut self) -> anyhow::Result<Completed> {
            std::future::pending().await
        }
    }
    #[tokio::test]
    async fn what_is_confirmed_before_it_is_put_off_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&StoreUrl::Sqlite(folder.path().join("delays.db"))).await.unwrap();
        let clock = Clock::starting_at("2023-11-14T22:13:20Z".parse().unwrap());
        let message = Delayed {
            message: Message::default(),
            due: clock.now(),
            plugin: "test".into(),
            version: "1".into(),
            key: None,
            uuid: String::new(),
        };
        store.accept(vec![message.clone(), message].into()).await.unwrap();
        let claimer = store.claimer().unwrap();
        let (mut in_flight, mut broker) = (InFlight::new(&store, &()), Unconfirmed::default());
        let claim = claimer.claim(clock.now(), 10).await.unwrap();
        assert!(in_flight.send(claim, clock.read(), &mut broker).is_none());

        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(30)).await;
        let mut finished = in_flight.on_time(false, clock.now(), &mut broker);
        tokio::time::resume();
        for (token, outgoing) in mem::take(&mut broker.0) {
            let completed = Completed { token, outgoing, fate: Fate::Confirmed };
            assert!(in_flight.on_completed(completed, clock.read(), &mut broker).is_none());
        }
        assert_eq!(in_flight.take_confirmed_late(), None, "the claim holds them still");
        let settled = finished.pop().expect("the claim is finished").settle().await;
        in_flight.on_settled(&settled);
        let confirmed = in_flight.take_confirmed_late().expect("both were confirmed");
        claimer.remove(confirmed).await.unwrap();
        assert_eq!(store.count(Filter::default(), clock.now()).await.unwrap().total, 0);
    }
}
