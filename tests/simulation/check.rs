//! The promises, checked at each step of a run.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use mo_router::event::{DeadKind, DeadLetter, Message, Outgoing, Value};
use mo_router::router::Limit;
use mo_router::transport::{Fate, LONGEST_RESEND};
use tokio::time::Instant;

use super::plan::{Kind, Plan};

/// Headers that say which event, delivery and publication a message comes from.
pub const EVENT: &str = "sim-event";
pub const DELIVERY: &str = "sim-delivery";
pub const INDEX: &str = "sim-index";

/// How long what can be done at once may take.
const MOMENT: Duration = Duration::from_secs(2);
/// The longest pause before an event is given to the plugin again.
pub const LONGEST_RETRY: Duration = Duration::from_secs(60);

/// How many times a message is sent that is nacked each time.
const SENDS: u32 = 8;

/// What is known of each delivery, and the first promise that was broken.
pub struct Checks {
    attempts: u32,
    limit: usize,
    limit_bytes: usize,
    kinds: Vec<Kind>,
    /// By event: its deliveries and failed attempts so far.
    tries: Vec<u32>,
    deliveries: Vec<Delivery>,
    /// Events that the broker has an acknowledgement of.
    acknowledged: Vec<bool>,
    /// Deliveries that the router has taken and not settled, in the newest session.
    unsettled: usize,
    /// The least bytes that they take, with what they caused.
    unsettled_bytes: usize,
    session: u64,
    /// The first delivery of the newest session.
    first: usize,
    /// By uuid: when something last happened to a delivery of it.
    moved: HashMap<u128, Instant>,
    /// By uuid: the delivery that a message was last sent for, in this session.
    newest_sent: HashMap<u128, usize>,
    /// Uuids that the plugin is called with.
    called: HashMap<u128, usize>,
    /// What the broker has taken and confirmed, and whether as a dead letter.
    taken: HashSet<(Of, bool)>,
    pub violation: Option<String>,
}

struct Delivery {
    event: usize,
    uuid: u128,
    session: u64,
    /// The least bytes that it takes, with what it caused.
    bytes: usize,
    /// Since when it could have been settled.
    done: Option<Instant>,
    /// Whether the plugin failed when it was last called.
    failed: bool,
    expected: Expected,
    settled: bool,
}

/// What has to happen before a delivery may be settled.
enum Expected {
    /// The plugin has to answer.
    Answer,
    /// Nothing, or nothing any more.
    Nothing,
    /// The event itself has to become a dead letter.
    DeadEvent(Status),
    /// These publications have to be confirmed, committed or dead letters.
    Publications(Vec<Publication>),
}

impl Expected {
    fn is_done(&self) -> bool {
        match self {
            Self::Answer => false,
            Self::Nothing => true,
            Self::DeadEvent(status) => *status == Status::Done,
            Self::Publications(publications) => {
                publications.iter().all(|publication| publication.status == Status::Done)
            }
        }
    }

    /// Whether the broker nacked some of it, which is sent again after a pause.
    fn is_nacked(&self) -> bool {
        let is_nacked = |status| matches!(status, Status::Nacked | Status::DeadNacked);
        match self {
            Self::Answer | Self::Nothing => false,
            Self::DeadEvent(status) => is_nacked(*status),
            Self::Publications(publications) => {
                publications.iter().any(|publication| is_nacked(publication.status))
            }
        }
    }
}

struct Publication {
    delayed: bool,
    nacks: u32,
    /// When it was first sent.
    sent: Option<Instant>,
    status: Status,
}

impl Publication {
    /// Whether it may be given up as never confirmed. It may have been handed in a while before it
    /// was sent.
    fn is_overdue(&self) -> bool {
        self.sent.is_some_and(|sent| sent.elapsed() >= Limit::HOLD / 2)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    Unsent,
    Sent,
    /// Sent, and its channel is closed: it may have arrived.
    Lost,
    Nacked,
    Undeliverable,
    DeadSent,
    DeadLost,
    DeadNacked,
    Done,
}

/// What the plugin answered, as far as it matters here.
pub enum Answered {
    /// For each publication, whether it is delayed.
    Publications(Vec<bool>),
    /// The event can only become a dead letter.
    Dead,
    /// The event may be tried again.
    Failed,
}

impl Checks {
    pub fn new(plan: &Plan) -> Self {
        Self {
            attempts: plan.attempts,
            // Most of it waits behind others of its uuid, beyond the prefetch.
            limit: 4 * plan.prefetch,
            limit_bytes: plan.bytes,
            kinds: plan.events.iter().map(|event| event.kind).collect(),
            tries: vec![0; plan.events.len()],
            deliveries: Vec::new(),
            acknowledged: vec![false; plan.events.len()],
            unsettled: 0,
            unsettled_bytes: 0,
            session: 0,
            first: 0,
            moved: HashMap::new(),
            newest_sent: HashMap::new(),
            called: HashMap::new(),
            taken: HashSet::new(),
            violation: None,
        }
    }

    fn broken(&mut self, promise: impl FnOnce() -> String) {
        if self.violation.is_none() {
            self.violation = Some(promise());
        }
    }

    pub fn on_session(&mut self, session: u64) {
        self.session = session;
        self.first = self.deliveries.len();
        self.unsettled = 0;
        self.unsettled_bytes = 0;
        self.newest_sent.clear();
        self.called.clear();
    }

    /// Gives the number of the delivery.
    pub fn on_delivered(&mut self, event: usize, uuid: u128) -> usize {
        self.unsettled += 1;
        if self.unsettled > self.limit {
            let (unsettled, limit) = (self.unsettled, self.limit);
            self.broken(|| format!("{unsettled} deliveries in flight, where {limit} may be"));
        }
        if self.acknowledged[event] {
            self.broken(|| format!("event {event} redelivered after its acknowledgement"));
        }
        let expected = match self.kinds[event] {
            Kind::Good | Kind::Stubborn | Kind::Poison | Kind::Full => Expected::Answer,
            Kind::Unreadable | Kind::TooManyHops => Expected::DeadEvent(Status::Unsent),
            Kind::NotSubscribed => Expected::Nothing,
        };
        let session = self.session;
        let settled = false;
        let failed = false;
        self.tries[event] += 1;
        self.deliveries.push(Delivery {
            event,
            uuid,
            session,
            bytes: 0,
            done: None,
            failed,
            expected,
            settled,
        });
        let delivery = self.deliveries.len() - 1;
        self.moves(delivery);
        delivery
    }

    /// A delivery has so many bytes. One alone may have more than the limit.
    pub fn on_size(&mut self, delivery: usize, bytes: usize) {
        let (before, limit) = (self.unsettled_bytes, self.limit_bytes);
        if before >= limit {
            self.broken(|| format!("another delivery beside {before} bytes, where {limit} may be"));
        }
        self.takes(delivery, bytes);
    }

    /// A delivery of the newest session takes so many bytes more.
    fn takes(&mut self, delivery: usize, bytes: usize) {
        self.deliveries[delivery].bytes += bytes;
        self.unsettled_bytes += bytes;
    }

    /// Something happened to a delivery.
    fn moves(&mut self, delivery: usize) {
        self.moved.insert(self.deliveries[delivery].uuid, Instant::now());
    }

    /// The plugin is called. An event may be given to it more often than `attempts` says: a lost
    /// session, a restart or a suspension takes an attempt back. But the number that the attempt
    /// bears is never above it.
    pub fn on_called(&mut self, delivery: usize, attempt: u32) {
        self.moves(delivery);
        let attempts = self.attempts;
        if !(1..=attempts).contains(&attempt) {
            self.broken(|| {
                format!("the plugin got delivery {delivery} for attempt {attempt} of {attempts}")
            });
        }
        let Delivery { uuid, session, .. } = self.deliveries[delivery];
        if session != self.session {
            return;
        }
        if let Some(other) = self.called.insert(uuid, delivery) {
            self.broken(|| {
                format!("the plugin got delivery {delivery} beside {other} of the same uuid")
            });
        }
    }

    pub fn on_answered(&mut self, delivery: usize, answered: &Answered) {
        self.moves(delivery);
        let entry = &mut self.deliveries[delivery];
        if entry.session != self.session {
            return;
        }
        self.called.remove(&entry.uuid);
        entry.failed = matches!(answered, Answered::Failed);
        entry.expected = match answered {
            Answered::Publications(delayed) if delayed.is_empty() => Expected::Nothing,
            Answered::Publications(delayed) => {
                let status = Status::Unsent;
                let publication = |delayed| Publication { delayed, nacks: 0, sent: None, status };
                Expected::Publications(delayed.iter().copied().map(publication).collect())
            }
            Answered::Dead => Expected::DeadEvent(Status::Unsent),
            Answered::Failed => {
                self.tries[entry.event] += 1;
                Expected::Answer
            }
        };
    }

    /// The worker was dropped while it was called.
    pub fn on_call_dropped(&mut self, delivery: usize) {
        let uuid = self.deliveries[delivery].uuid;
        if self.called.get(&uuid) == Some(&delivery) {
            self.called.remove(&uuid);
        }
    }

    pub fn on_sent(&mut self, outgoing: &Outgoing, session: u64) {
        let of = Of::message(outgoing.message());
        if self.deliveries[of.delivery].session != session {
            return self.broken(|| format!("{of:?} is of an earlier session"));
        }
        self.moves(of.delivery);
        let first = match outgoing {
            Outgoing::Dead(letter) => self.on_dead_sent(of, letter),
            Outgoing::Message(_) => self.on_message_sent(of),
        };
        if first {
            self.takes(of.delivery, outgoing.message().body.len());
            self.check_order(of);
        }
    }

    fn on_dead_sent(&mut self, of: Of, letter: &DeadLetter) -> bool {
        let attempts = self.attempts;
        let Delivery { event, failed, expected, .. } = &mut self.deliveries[of.delivery];
        let tries = self.tries[*event];
        match (letter.kind, &mut *expected) {
            (DeadKind::Event, Expected::DeadEvent(status))
                if matches!(status, Status::Unsent | Status::Nacked | Status::Lost) =>
            {
                *status = Status::Sent;
            }
            // Its first delivery is no try beyond the failed attempts.
            (DeadKind::Event, Expected::Answer) if *failed && tries > attempts => {
                *expected = Expected::DeadEvent(Status::Sent);
            }
            (DeadKind::Publication, Expected::Publications(publications)) => {
                let publication = &mut publications[of.index()];
                let is_overdue = publication.is_overdue();
                let Publication { nacks, status, .. } = publication;
                match status {
                    Status::Nacked if *nacks == SENDS => *status = Status::DeadSent,
                    Status::Sent | Status::Lost | Status::Nacked if is_overdue => {
                        *status = Status::DeadSent;
                    }
                    Status::Undeliverable | Status::DeadNacked | Status::DeadLost => {
                        *status = Status::DeadSent;
                    }
                    status => {
                        let status = *status;
                        self.broken(|| {
                            format!("{of:?} is a dead letter, though it was {status:?}")
                        });
                    }
                }
            }
            _ => self.broken(|| {
                format!(
                    "{of:?} is a dead letter without cause ({}, {tries} tries, attempts {attempts})",
                    letter.reason
                )
            }),
        }
        false
    }

    fn on_message_sent(&mut self, of: Of) -> bool {
        let Expected::Publications(publications) = &mut self.deliveries[of.delivery].expected
        else {
            self.broken(|| format!("{of:?} was published, and nobody asked for it"));
            return false;
        };
        let publication = &mut publications[of.index()];
        let before = std::mem::replace(&mut publication.status, Status::Sent);
        publication.sent.get_or_insert_with(Instant::now);
        let delayed = publication.delayed;
        if delayed || !matches!(before, Status::Unsent | Status::Nacked | Status::Lost) {
            self.broken(|| {
                format!("{of:?} was published, though it was {before:?} (delayed: {delayed})")
            });
        }
        before == Status::Unsent
    }

    fn check_order(&mut self, of: Of) {
        let uuid = self.deliveries[of.delivery].uuid;
        if let Some(newer) = self.newest_sent.insert(uuid, of.delivery)
            && newer > of.delivery
        {
            self.broken(|| format!("{of:?} was sent after delivery {newer} of the same uuid"));
        }
    }

    /// The channel is closed on which this was sent.
    pub fn on_lost(&mut self, outgoing: &Outgoing) {
        let of = Of::message(outgoing.message());
        let status = match &mut self.deliveries[of.delivery].expected {
            Expected::DeadEvent(status) => status,
            Expected::Publications(publications) => &mut publications[of.index()].status,
            Expected::Answer | Expected::Nothing => return,
        };
        match status {
            Status::Sent => *status = Status::Lost,
            Status::DeadSent => *status = Status::DeadLost,
            _ => {}
        }
    }

    /// The broker has taken the message, and its confirm is there.
    pub fn on_taken(&mut self, outgoing: &Outgoing) {
        self.taken.insert(of_kind(outgoing));
    }

    pub fn on_fate(&mut self, outgoing: &Outgoing, fate: &Fate, session: u64) {
        let of = Of::message(outgoing.message());
        if *fate == Fate::Confirmed && !self.taken.contains(&of_kind(outgoing)) {
            return self
                .broken(|| format!("{of:?} counts as confirmed, and the broker has not taken it"));
        }
        self.moves(of.delivery);
        let entry = &mut self.deliveries[of.delivery];
        if entry.session != session {
            return;
        }
        let status = match &mut entry.expected {
            Expected::DeadEvent(status) => status,
            Expected::Publications(publications) => {
                let Publication { nacks, status, .. } = &mut publications[of.index()];
                *nacks += u32::from(matches!(fate, Fate::Nacked(_)));
                status
            }
            Expected::Answer | Expected::Nothing => return,
        };
        *status = match (fate, &*status) {
            (Fate::Confirmed, _) => Status::Done,
            (Fate::Returned(_) | Fate::Unacceptable(_) | Fate::Refused(_), _) => {
                Status::Undeliverable
            }
            (Fate::Nacked(_), Status::DeadSent) => Status::DeadNacked,
            (Fate::Nacked(_), _) => Status::Nacked,
        };
    }

    pub fn on_committed(&mut self, message: &Message) {
        let of = Of::message(message);
        self.moves(of.delivery);
        let entry = &mut self.deliveries[of.delivery];
        let asked = match &mut entry.expected {
            Expected::Publications(publications) => {
                let publication = &mut publications[of.index()];
                let asked = publication.delayed && publication.status == Status::Unsent;
                publication.status = Status::Done;
                asked
            }
            _ => false,
        };
        // A session that is lost meanwhile does not take back what it handed in.
        if !asked {
            self.broken(|| format!("{of:?} was stored, and nobody asked for it"));
        }
    }

    /// The store will never take a message.
    pub fn on_unstorable(&mut self, message: &Message) {
        let of = Of::message(message);
        self.moves(of.delivery);
        if let Expected::Publications(publications) = &mut self.deliveries[of.delivery].expected {
            let publication = &mut publications[of.index()];
            if publication.delayed && publication.status == Status::Unsent {
                publication.status = Status::Undeliverable;
            }
        }
    }

    pub fn on_settled(&mut self, delivery: usize) {
        self.moves(delivery);
        let entry = &mut self.deliveries[delivery];
        let done = entry.expected.is_done();
        let twice = std::mem::replace(&mut entry.settled, true);
        if !twice && entry.session == self.session {
            self.unsettled_bytes = self.unsettled_bytes.saturating_sub(entry.bytes);
        }
        self.unsettled = self.unsettled.saturating_sub(1);
        if twice {
            self.broken(|| format!("delivery {delivery} was settled twice"));
        }
        if !done {
            self.broken(|| format!("delivery {delivery} was acknowledged before it was done"));
        }
    }

    /// A delivery of the newest session that has been done for longer than a moment and is not
    /// settled.
    pub fn unsettled(&mut self) -> Option<usize> {
        let now = Instant::now();
        (self.first..self.deliveries.len()).find(|delivery| {
            let entry = &mut self.deliveries[*delivery];
            if entry.settled || !entry.expected.is_done() {
                return false;
            }
            now - *entry.done.get_or_insert(now) > MOMENT
        })
    }

    /// A delivery of the newest session that nothing has happened to, nor to others of its uuid,
    /// for longer than any pause lasts that it may be in; what was before `since` does not count.
    pub fn stalled(&self, since: Instant) -> Option<usize> {
        (self.first..self.deliveries.len()).find(|delivery| {
            let Delivery { uuid, settled, expected, .. } = &self.deliveries[*delivery];
            let pause = match expected.is_nacked() {
                true => LONGEST_RESEND,
                false => LONGEST_RETRY,
            };
            let moved = self.moved.get(uuid).copied().unwrap_or(since).max(since);
            !settled && moved.elapsed() > pause + MOMENT
        })
    }

    /// How many deliveries there were.
    pub fn deliveries(&self) -> usize {
        self.deliveries.len()
    }

    pub fn on_acknowledged(&mut self, event: usize) {
        self.acknowledged[event] = true;
    }

    /// Events that are not acknowledged.
    pub fn left(&self) -> Vec<usize> {
        (0..self.acknowledged.len()).filter(|event| !self.acknowledged[*event]).collect()
    }

    pub fn event_of(&self, delivery: usize) -> usize {
        self.deliveries[delivery].event
    }

    pub fn fail(&mut self, violation: String) {
        self.broken(|| violation);
    }
}

/// What a message stands for, and whether it is a dead letter.
fn of_kind(outgoing: &Outgoing) -> (Of, bool) {
    (Of::message(outgoing.message()), matches!(outgoing, Outgoing::Dead(_)))
}

/// Which publication of which delivery a message is.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Of {
    pub delivery: usize,
    index: Option<usize>,
}

impl Of {
    pub fn message(message: &Message) -> Self {
        let headers = &message.properties.headers;
        let number = |name: &str| match headers.get(name) {
            Some(Value::Int(number)) => usize::try_from(*number).ok(),
            Some(Value::Text(text)) => text.parse().ok(),
            _ => None,
        };
        Self { delivery: number(DELIVERY).expect("travels with the event"), index: number(INDEX) }
    }

    fn index(self) -> usize {
        self.index.expect("set by the plugin")
    }
}

impl std::fmt::Debug for Of {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.index {
            Some(index) => write!(f, "message {index} of delivery {}", self.delivery),
            None => write!(f, "delivery {}", self.delivery),
        }
    }
}
