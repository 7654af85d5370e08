//! What is published when on a channel with confirms, and what becomes of it: the rules,
//! without I/O.
//!
//! A broker answers most messages with a confirm. Some it answers by closing the channel:
//! it does not permit them, or cannot take them as they are. Then the fate of everything on
//! the channel is unknown, though one message alone is to blame. Which one that is, the
//! broker says in words only. But it looks at what is sent on a channel in order, and at
//! nothing after the message to blame: what was published before a message that it confirmed
//! is innocent. The others, the suspects, are sent again on a new channel one by one, and the
//! broker is asked something after each, which it answers when it has looked at it. The one at
//! which it closes the channel again can never be delivered, and the others go on.

mod refusal;

use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};

use slab::Slab;

use super::fate::{Completed, Fate};
use crate::event::Outgoing;

pub use refusal::Refusal;

/// See the module's documentation.
///
/// The driver takes [steps](Publisher::next_step), and tells what comes of them.
#[derive(Debug)]
pub struct Publisher {
    messages: Slab<Entry>,
    /// Counts the messages.
    last: u64,
    /// What is to be published, in order.
    queue: VecDeque<usize>,
    exchanges: BTreeMap<String, Exchange>,
    is_open: bool,
    /// Counts what is published, on one channel after the other.
    published: u64,
    /// The broker has looked at what was published up to here.
    looked_at: u64,
    /// The broker is asked whether it has looked at what was published up to here.
    asked: u64,
    /// The suspect that was published last, if nothing was since.
    alone: Option<usize>,
    confirmed: Vec<Confirmed>,
    /// Messages on the channel that nobody waits for.
    abandoned: usize,
    completed: VecDeque<Completed>,
}

/// A message whose fate is not known.
#[derive(Debug)]
struct Entry {
    token: u64,
    outgoing: Outgoing,
    /// Which message this is, from 1.
    number: u64,
    /// Which one it is of all that were published; none if it is not on the channel.
    published: Option<u64>,
    /// Whether the broker may have closed a channel because of it.
    suspect: bool,
    returned: Option<String>,
    /// Nobody waits for its fate.
    abandoned: bool,
    /// Somebody else has a copy, and sends it again if need be.
    is_copied: bool,
}

/// A confirm. lapin tells a return with whichever confirm it works off next, and one at a
/// time; so the one that belongs to this confirm may be told after it.
#[derive(Debug)]
struct Confirmed {
    key: usize,
    nacked: Option<String>,
    /// The number of the message whose return came with this confirm: when that one is
    /// confirmed without a return of another, no more returns were waiting.
    waits_for: Option<u64>,
}

/// What is known about an exchange. A message to one that does not exist would close the
/// channel.
#[derive(Debug)]
enum Exchange {
    Usable,
    /// These messages wait for what the broker says of it.
    Checking(Vec<usize>),
}

/// What the driver has to do next.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Ask the broker whether an exchange can be used.
    Check(String),
    /// Publish the message with this key. Its confirm is told with it.
    Publish(usize),
    /// Ask the broker, on the channel, anything that it answers. What is published up to this
    /// number has been looked at then: [`Publisher::on_looked_at`].
    Ask(u64),
}

/// How much a message is like one that a broker has returned. Broker plugins may change
/// properties, and nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Likeness {
    /// It went elsewhere.
    Other,
    /// It went to the same exchange with the same routing key, so the broker returns it, too.
    Akin,
    /// Its body is the same as well, and its properties differ.
    Alike,
    /// It cannot be told from the one that was returned.
    Same,
}

impl Publisher {
    /// One whose channel is open. There is no need to check the exchange `usable`.
    pub fn new(usable: &str) -> Self {
        Self {
            messages: Slab::new(),
            last: 0,
            queue: VecDeque::new(),
            exchanges: BTreeMap::from([(usable.to_owned(), Exchange::Usable)]),
            is_open: true,
            published: 0,
            looked_at: 0,
            asked: 0,
            alone: None,
            confirmed: Vec::new(),
            abandoned: 0,
            completed: VecDeque::new(),
        }
    }

    /// Takes a message. Its fate comes back with the token.
    pub fn send(&mut self, token: u64, outgoing: Outgoing) {
        self.last += 1;
        let key = self.messages.insert(Entry {
            token,
            outgoing,
            number: self.last,
            published: None,
            suspect: false,
            returned: None,
            abandoned: false,
            is_copied: false,
        });
        self.queue.push_back(key);
    }

    /// A copy of a message, if its fate is not known. It is not published again where a channel is
    /// given up: whoever has the copy does that.
    pub fn copy(&mut self, token: u64) -> Option<Outgoing> {
        let (_, entry) = self.messages.iter_mut().find(|(_, entry)| entry.token == token)?;
        entry.is_copied = true;
        Some(entry.outgoing.clone())
    }

    /// Nobody waits any more for the confirm of a message with this token. Gives it, if there is one
    /// that was sent and whose fate is not known.
    pub fn abandon(&mut self, token: u64) -> Option<Outgoing> {
        let is_it = |entry: &Entry| entry.token == token && !entry.abandoned;
        let (_, entry) = self.messages.iter_mut().find(|(key, entry)| {
            let is_confirmed = || self.confirmed.iter().any(|confirmed| confirmed.key == *key);
            is_it(entry) && (entry.published.is_some() || is_confirmed())
        })?;
        // Its place is needed until the broker has said all.
        entry.abandoned = true;
        self.abandoned += 1;
        Some(entry.outgoing.clone())
    }

    /// The same; and one that was not sent will not be.
    pub fn withdraw(&mut self, token: u64) -> Option<Outgoing> {
        if let Some(sent) = self.abandon(token) {
            return Some(sent);
        }
        let is_it = |entry: &Entry| entry.token == token && !entry.abandoned;
        let (key, _) = self.messages.iter().find(|(_, entry)| is_it(entry))?;
        self.queue.retain(|queued| *queued != key);
        for exchange in self.exchanges.values_mut() {
            if let Exchange::Checking(waiting) = exchange {
                waiting.retain(|waits| *waits != key);
            }
        }
        Some(self.messages.remove(key).outgoing)
    }

    /// What to do next, if anything can be done now. Exchanges are those that
    /// `exchange_of` says.
    pub fn next_step(&mut self, exchange_of: impl Fn(&Outgoing) -> &str) -> Option<Step> {
        loop {
            if !self.is_open {
                return None;
            }
            // With another one on the channel, the one to blame could no longer be told.
            if self.is_searching() && self.may_close().next().is_some() {
                let asks = self.asked < self.published;
                self.asked = self.published;
                return asks.then_some(Step::Ask(self.asked));
            }
            let key = self.queue.pop_front()?;
            let entry = &mut self.messages[key];
            let exchange = exchange_of(&entry.outgoing);
            match self.exchanges.get_mut(exchange) {
                Some(Exchange::Usable) => {
                    self.published += 1;
                    entry.published = Some(self.published);
                    self.alone = entry.suspect.then_some(key);
                    return Some(Step::Publish(key));
                }
                Some(Exchange::Checking(waiting)) => waiting.push(key),
                None => {
                    let exchange = exchange.to_owned();
                    self.exchanges.insert(exchange.clone(), Exchange::Checking(vec![key]));
                    return Some(Step::Check(exchange));
                }
            }
        }
    }

    /// Whether it looks for the one message that a broker closes the channel at.
    fn is_searching(&self) -> bool {
        let next = self.queue.front().map(|key| &self.messages[*key]);
        self.alone.is_some() || next.is_some_and(|entry| entry.suspect)
    }

    /// What is on the channel and may yet have it closed.
    fn may_close(&self) -> impl Iterator<Item = usize> {
        let may = |entry: &Entry| entry.published.is_some_and(|number| number > self.looked_at);
        self.messages.iter().filter(move |(_, entry)| may(entry)).map(|(key, _)| key)
    }

    /// The broker has looked at what was published up to this number.
    pub fn on_looked_at(&mut self, number: u64) {
        self.looked_at = self.looked_at.max(number);
        self.alone.take_if(|key| {
            self.messages[*key].published.is_some_and(|published| published <= number)
        });
    }

    /// A message that is to be published.
    ///
    /// # Panics
    /// If its fate is known.
    pub fn outgoing(&self, key: usize) -> &Outgoing {
        &self.messages[key].outgoing
    }

    /// The message cannot be published: it does not fit, say.
    pub fn on_impossible(&mut self, key: usize, reason: String) {
        self.off_channel(key);
        self.complete(key, Fate::Unacceptable(reason));
    }

    /// What the broker says of an exchange: that it can be used, or why it never can.
    pub fn on_checked(&mut self, exchange: &str, checked: Result<(), String>) {
        let Some(Exchange::Checking(waiting)) = self.exchanges.remove(exchange) else { return };
        match checked {
            Ok(()) => {
                self.exchanges.insert(exchange.to_owned(), Exchange::Usable);
                waiting.into_iter().rev().for_each(|key| self.queue.push_front(key));
            }
            // The next message has it checked again.
            Err(reason) => {
                waiting
                    .into_iter()
                    .for_each(|key| self.complete(key, Fate::Refused(reason.clone())));
            }
        }
    }

    /// An exchange that could be used takes nothing: before the next message, it is checked again.
    pub fn on_useless(&mut self, exchange: &str) {
        if let Some(Exchange::Usable) = self.exchanges.get(exchange) {
            self.exchanges.remove(exchange);
        }
    }

    /// The broker confirmed the message, or says why not.
    pub fn on_confirm(&mut self, key: usize, nacked: Option<String>) {
        if let Some(number) = self.off_channel(key) {
            self.looked_at = self.looked_at.max(number);
        }
        self.confirmed.push(Confirmed { key, nacked, waits_for: None });
    }

    /// With the confirm that was told last came a message that the broker has returned, and
    /// why. `likeness` says of each message on the channel how much it is like that one. Of messages
    /// that cannot be told apart it does not matter which is taken: a queue has one of them,
    /// and a person gets the other. A return that is like none belongs to the confirm: no message
    /// counts as delivered because its return is not understood.
    pub fn on_return(&mut self, reason: String, likeness: impl Fn(&Outgoing) -> Likeness) {
        let confirmed = self.confirmed.iter().map(|confirmed| confirmed.key);
        let published = self.messages.iter().filter(|(_, entry)| entry.published.is_some());
        let returned = confirmed
            .chain(published.map(|(key, _)| key))
            .filter(|key| self.messages[*key].returned.is_none())
            .map(|key| (likeness(&self.messages[key].outgoing), key))
            .filter(|(likeness, _)| *likeness != Likeness::Other)
            .max_by_key(|(likeness, key)| (*likeness, Reverse(self.messages[*key].number)));
        let carrier = self.confirmed.last().map(|confirmed| confirmed.key);
        let carrier = carrier.filter(|key| self.messages[*key].returned.is_none());
        let Some(key) = returned.map(|(_, key)| key).or(carrier) else { return };
        let entry = &mut self.messages[key];
        entry.returned = Some(reason);
        let number = entry.number;
        if let Some(carrier) = self.confirmed.last_mut().filter(|carrier| carrier.key != key) {
            carrier.waits_for = Some(number);
        }
    }

    /// The broker closed the channel. The driver opens another, and says so with
    /// [`Publisher::on_opened`].
    pub fn on_closed(&mut self, refusal: &Refusal, exchange_of: impl Fn(&Outgoing) -> &str) {
        self.is_open = false;
        self.on_all_told();
        let suspects = self.suspects(refusal, &exchange_of);
        self.take_back(|_| true);
        self.alone = None;
        // Without those that nobody waits for.
        let left: Vec<usize> =
            suspects.iter().copied().filter(|key| self.messages.contains(*key)).collect();
        let again = left.iter().any(|key| self.messages[*key].suspect);
        // The router may yet make an exchange that does not exist.
        let missing = refusal.missing_exchange().filter(|_| !again);
        if let Some(missing) = missing {
            self.exchanges.remove(missing);
        }
        match (&suspects[..], &left[..]) {
            ([_], &[culprit]) if missing.is_none() && refusal.is_known() => {
                self.found(culprit, refusal, exchange_of);
            }
            _ => {
                for key in left {
                    self.messages[key].suspect = true;
                }
            }
        }
    }

    /// The messages that the broker can mean. If it means none of those that are left, it is
    /// not understood, and can mean any.
    fn suspects(&self, refusal: &Refusal, exchange_of: impl Fn(&Outgoing) -> &str) -> Vec<usize> {
        let may: Vec<usize> = self.may_close().collect();
        let exchange = |key: usize| exchange_of(&self.messages[key].outgoing);
        let named = may.iter().copied().filter(|key| refusal.exchange() == Some(exchange(*key)));
        let named: Vec<usize> = named.collect();
        if !named.is_empty() {
            named
        } else if !may.is_empty() {
            may
        } else {
            let published = self.messages.iter().filter(|(_, entry)| entry.published.is_some());
            published.map(|(key, _)| key).collect()
        }
    }

    /// Takes all that is on the channel back, and what is to go `again` to the head of the queue, in
    /// its order. What nobody waits for is gone.
    fn take_back(&mut self, again: impl Fn(&Entry) -> bool) {
        // Whether these were returned is not known, and will not be.
        for Confirmed { key, .. } in std::mem::take(&mut self.confirmed) {
            self.messages[key].published = Some(0);
        }
        let mut published = Vec::new();
        for (key, entry) in &mut self.messages {
            if entry.published.take().is_some() {
                // Sent again, it may be returned again, and that return is its own.
                entry.returned = None;
                published.push((entry.number, key, entry.abandoned, again(entry)));
            }
        }
        published.sort_unstable();
        for (_, key, abandoned, again) in published.into_iter().rev() {
            if abandoned {
                self.abandoned -= 1;
                self.messages.remove(key);
            } else if again {
                self.queue.push_front(key);
            }
        }
    }

    /// This one has the channel closed. What the broker says of its exchange it says of the
    /// other suspects too.
    fn found(
        &mut self,
        culprit: usize,
        refusal: &Refusal,
        exchange_of: impl Fn(&Outgoing) -> &str,
    ) {
        let is_alike = |key: usize| {
            let Entry { outgoing, suspect, .. } = &self.messages[key];
            *suspect && refusal.refused_exchange() == Some(exchange_of(outgoing))
        };
        let refused: Vec<usize> =
            self.queue.iter().copied().filter(|key| *key == culprit || is_alike(*key)).collect();
        self.queue.retain(|key| !refused.contains(key));
        self.queue.iter().for_each(|key| self.messages[*key].suspect = false);
        for key in refused {
            let fate = refusal.fate(&self.messages[key].outgoing);
            self.complete(key, fate);
        }
    }

    /// The driver gives the channel up, and opens another as for [`Publisher::on_closed`]: too much is
    /// on it that nobody waits for. The rest is published again, but for what was copied: of that there
    /// would be one copy more each time, and its fate is not told any more.
    pub fn on_given_up(&mut self) {
        self.is_open = false;
        self.on_all_told();
        self.take_back(|entry| !entry.is_copied);
        self.alone = None;
    }

    /// There is a new channel.
    pub fn on_opened(&mut self) {
        self.is_open = true;
    }

    /// All the confirms and returns that are there have been told.
    pub fn on_all_told(&mut self) {
        loop {
            let (known, waiting): (Vec<_>, Vec<_>) =
                std::mem::take(&mut self.confirmed).into_iter().partition(|confirmed| {
                    let returned = &self.messages[confirmed.key].returned;
                    confirmed.waits_for.is_none() || returned.is_some()
                });
            self.confirmed = waiting;
            if known.is_empty() {
                return;
            }
            let mut known = VecDeque::from(known);
            while let Some(confirmed) = known.pop_front() {
                let (number, waits_for) = self.on_known(confirmed);
                // Also those that are known and not worked off: another one may wait for them.
                for behind in known.iter_mut().chain(&mut self.confirmed) {
                    if behind.waits_for == Some(number) {
                        behind.waits_for = waits_for;
                    }
                }
            }
        }
    }

    /// Gives its number, and the message that whoever waited for it waits for from here on.
    fn on_known(&mut self, Confirmed { key, nacked, waits_for }: Confirmed) -> (u64, Option<u64>) {
        let Entry { number, returned, .. } = &mut self.messages[key];
        let number = *number;
        let fate = match (returned.take(), nacked) {
            (Some(reason), _) => Fate::Returned(reason),
            (None, Some(reason)) => Fate::Nacked(reason),
            (None, None) => Fate::Confirmed,
        };
        self.complete(key, fate);
        (number, waits_for)
    }

    /// The next message whose fate is known.
    pub fn next_completed(&mut self) -> Option<Completed> {
        self.completed.pop_front()
    }

    /// Messages that are confirmed, and of which it is not known whether they were returned.
    pub fn undecided(&self) -> impl Iterator<Item = usize> {
        self.confirmed.iter().map(|confirmed| confirmed.key)
    }

    /// How many messages that nobody waits for are on the channel.
    pub fn abandoned(&self) -> usize {
        self.abandoned
    }

    /// Whether every message's fate is told.
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty() && self.completed.is_empty()
    }

    /// Which one it was of those on the channel, if it was there.
    fn off_channel(&mut self, key: usize) -> Option<u64> {
        self.alone.take_if(|alone| *alone == key);
        self.messages[key].published.take()
    }

    fn complete(&mut self, key: usize, fate: Fate) {
        let Entry { token, outgoing, abandoned, .. } = self.messages.remove(key);
        self.abandoned -= usize::from(abandoned);
        if !abandoned {
            self.completed.push_back(Completed { token, outgoing, fate });
        }
    }
}

#[cfg(test)]
mod tests;
