//! What MO keeps of its events, and its rules: namespaces, listeners, and one row for each
//! listener and subject.
//!
//! A request is a transaction: [`World::begin`], then [`World::roll_back`] if one of its fields
//! fails.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use uuid::Uuid;

/// MO's own namespace, and its owner.
pub const MO: &str = "mo";
const MO_OWNER: Uuid = Uuid::from_u128(0x450f_7ff6_9535_46cc_8273_b2d3_22c1_c9ac);
/// The priority of an event that has none.
pub const PRIORITY: i64 = 10_000;
/// The longest subject, in characters.
const LONGEST_SUBJECT: usize = 220;
/// How long a fetched event is leased, at first and at most.
const LEASE: (u64, u64) = (180, 61_200);

/// A namespace.
#[derive(Clone, Debug)]
pub struct Namespace {
    pub owner: Uuid,
    pub public: bool,
}

/// A listener.
#[derive(Clone, Debug)]
pub struct Listener {
    pub namespace: String,
    pub owner: Uuid,
    pub user_key: String,
    pub routing_key: String,
}

/// The row of a listener and a subject.
#[derive(Clone, Debug)]
pub struct Row {
    pub priority: i64,
    pub silenced: bool,
    id: Uuid,
    generation: Uuid,
    /// When it was last fetched; none if it is to be had at once.
    last_tried: Option<Duration>,
    fetched: u32,
    /// Grows with each change: where the row lies in the table.
    place: u64,
}

/// All that there is.
#[derive(Debug, Default)]
pub struct World {
    pub namespaces: BTreeMap<String, Namespace>,
    pub listeners: BTreeMap<Uuid, Listener>,
    rows: BTreeMap<Uuid, BTreeMap<String, Row>>,
    tokens: BTreeMap<Uuid, (Uuid, String)>,
    places: u64,
    /// What to do to undo the transaction, the last first.
    journal: Vec<Undo>,
    /// Listeners whose row another transaction has locked.
    pub locked: Vec<Uuid>,
    /// Whether rows lie where chance puts them, as in a table that is in use.
    pub is_shuffled: bool,
}

#[derive(Debug)]
enum Undo {
    Namespace(String, Option<Namespace>),
    Listener(Uuid, Option<Listener>),
    Row(Uuid, String, Option<Row>),
}

/// What a fetch gives.
#[derive(Debug)]
pub struct Fetched {
    pub subject: String,
    pub priority: i64,
    pub token: String,
}

impl World {
    /// MO's namespace, and nothing in it.
    pub fn new() -> Self {
        let mo = Namespace { owner: MO_OWNER, public: true };
        Self { namespaces: BTreeMap::from([(MO.to_owned(), mo)]), ..Self::default() }
    }

    /// A transaction begins.
    pub fn begin(&mut self) {
        self.journal.clear();
    }

    /// Undoes all since [`World::begin`].
    pub fn roll_back(&mut self) {
        while let Some(undo) = self.journal.pop() {
            match undo {
                Undo::Namespace(name, before) => put(&mut self.namespaces, name, before),
                Undo::Listener(uuid, before) => put(&mut self.listeners, uuid, before),
                Undo::Row(listener, subject, before) => {
                    self.write(listener, &subject, before);
                }
            }
        }
    }

    /// The rows of a listener, by subject.
    pub fn rows(&self, listener: Uuid) -> impl Iterator<Item = (&String, &Row)> {
        self.rows.get(&listener).into_iter().flatten()
    }

    /// How many rows there are.
    pub fn pending(&self) -> usize {
        self.rows.values().map(BTreeMap::len).sum()
    }

    /// How many rows of a listener were fetched and neither acknowledged nor made to come again.
    pub fn leased(&self, listener: Uuid) -> usize {
        self.rows(listener).filter(|(_, row)| row.last_tried.is_some()).count()
    }

    pub fn declare_namespace(&mut self, name: &str, public: bool, who: Uuid) -> Result<(), String> {
        match self.namespaces.get(name) {
            Some(there) if there.owner != who => {
                Err("Namespace already claimed by another owner.".into())
            }
            Some(there) if there.public != public => {
                Err(format!("Namespace already exists with public={}.", there.public))
            }
            Some(_) => Ok(()),
            None => {
                self.set_namespace(name, Some(Namespace { owner: who, public }));
                Ok(())
            }
        }
    }

    pub fn delete_namespace(&mut self, name: &str, who: Uuid) -> Result<(), String> {
        if self.namespaces.get(name).is_some_and(|there| there.owner != who) {
            return Err("You are not the owner of that namespace.".into());
        }
        if self.listeners.values().any(|listener| listener.namespace == name) {
            return Err("There are still listeners for this namespace. Use the \
                        `event_listener_delete` mutator."
                .into());
        }
        self.set_namespace(name, None);
        Ok(())
    }

    pub fn declare_listener(
        &mut self,
        namespace: &str,
        user_key: &str,
        routing_key: &str,
        who: Uuid,
    ) -> Result<Uuid, String> {
        if !self.namespaces.contains_key(namespace) {
            return Err("Namespace does not exist".into());
        }
        let there = self.listeners.iter().find(|(_, listener)| {
            (&*listener.namespace, &*listener.user_key, listener.owner)
                == (namespace, user_key, who)
        });
        if let Some((uuid, listener)) = there {
            return match listener.routing_key == routing_key {
                true => Ok(*uuid),
                false => Err("There already exists a listener with this user_key and a different \
                              routing_key"
                    .into()),
            };
        }
        let uuid = Uuid::new_v4();
        let listener = Listener {
            namespace: namespace.into(),
            owner: who,
            user_key: user_key.into(),
            routing_key: routing_key.into(),
        };
        self.set_listener(uuid, Some(listener));
        Ok(uuid)
    }

    pub fn delete_listener(&mut self, listener: Uuid, with_events: bool) -> Result<(), String> {
        let subjects: Vec<String> =
            self.rows(listener).map(|(subject, _)| subject.clone()).collect();
        if !subjects.is_empty() && !with_events {
            return Err("There are pending events for this listener. Consider carefully if these \
                        need to be handled first. You can delete the listener anyway with \
                        `delete_pending_events`."
                .into());
        }
        subjects.iter().for_each(|subject| self.set_row(listener, subject, None));
        self.set_listener(listener, None);
        Ok(())
    }

    /// The next event of a listener, which is leased: null, too, for one that is not there or is
    /// somebody else's, or whose row another transaction has locked.
    pub fn fetch(&mut self, listener: Uuid, who: Uuid, now: Duration) -> Option<Fetched> {
        let is_ours = self.listeners.get(&listener).is_some_and(|there| there.owner == who);
        if !is_ours || self.locked.contains(&listener) {
            return None;
        }
        let due = self.rows(listener).filter(|(_, row)| row.is_due(now));
        let first = due.min_by_key(|(_, row)| (row.silenced, row.priority, row.fetched, row.place));
        let (subject, row) = first.map(|(subject, row)| (subject.clone(), row.clone()))?;
        let row =
            Row { last_tried: Some(now), fetched: row.fetched + 1, place: self.place(), ..row };
        let (priority, token) = (row.priority, row.token());
        self.set_row(listener, &subject, Some(row));
        Some(Fetched { subject, priority, token })
    }

    /// Removes the row that a token is of, if it has not changed since.
    pub fn acknowledge(&mut self, token: &str) {
        let Some((id, generation)) = read_token(token) else { return };
        let Some((listener, subject)) = self.tokens.get(&id).cloned() else { return };
        let row = self.rows.get(&listener).and_then(|rows| rows.get(&subject));
        if row.is_some_and(|row| row.generation == generation) {
            self.set_row(listener, &subject, None);
        }
    }

    pub fn send(
        &mut self,
        namespace: &str,
        routing_key: &str,
        subject: &str,
        priority: i64,
        who: Uuid,
    ) -> Result<(), String> {
        let Some(there) = self.namespaces.get(namespace) else {
            return Err("Namespace does not exist.".into());
        };
        if there.owner != who {
            return Err("You are not the owner of that namespace.".into());
        }
        if priority < 1 {
            return Err("priority must be natural".into());
        }
        if subject.chars().count() > LONGEST_SUBJECT {
            return Err("Too large subject. Only send identifiers as the subject, not data".into());
        }
        if subject.contains('\0') {
            return Err(
                "(psycopg.DataError) PostgreSQL text fields cannot contain NUL (0x00) bytes".into(),
            );
        }
        self.emit(namespace, routing_key, subject, priority);
        Ok(())
    }

    /// An event for every listener of a key. Gives the listeners, and the tokens that the event
    /// has now.
    pub fn emit(
        &mut self,
        namespace: &str,
        routing_key: &str,
        subject: &str,
        priority: i64,
    ) -> Vec<(Uuid, String)> {
        let wanted = |listener: &Listener| {
            listener.namespace == namespace && listener.routing_key == routing_key
        };
        let to = self.listeners.iter().filter(|(_, listener)| wanted(listener));
        let to: Vec<Uuid> = to.map(|(uuid, _)| *uuid).collect();
        let mut tokens = Vec::new();
        for listener in to {
            let place = self.place();
            let before = self.rows.get(&listener).and_then(|rows| rows.get(subject));
            let row = Row {
                priority: before.map_or(priority, |before| before.priority.min(priority)),
                silenced: before.is_some_and(|before| before.silenced),
                id: before.map_or_else(Uuid::new_v4, |before| before.id),
                generation: Uuid::new_v4(),
                last_tried: None,
                fetched: 0,
                place,
            };
            tokens.push((listener, row.token()));
            self.set_row(listener, subject, Some(row));
        }
        tokens
    }

    /// Changes the rows that `wanted` selects; gives their subjects and what they are now.
    pub fn change(
        &mut self,
        wanted: impl Fn(Uuid, &str, &Row) -> bool,
        change: impl Fn(&mut Row),
    ) -> Vec<(String, Row)> {
        let mut found: Vec<(Uuid, String, Row)> = self
            .rows
            .iter()
            .flat_map(|(listener, rows)| {
                rows.iter().map(|(subject, row)| (*listener, subject.clone(), row.clone()))
            })
            .filter(|(listener, subject, row)| wanted(*listener, subject, row))
            .collect();
        found.sort_by_key(|(_, _, row)| row.place);
        let mut changed = Vec::new();
        for (listener, subject, mut row) in found {
            change(&mut row);
            row.place = self.place();
            self.set_row(listener, &subject, Some(row.clone()));
            changed.push((subject, row));
        }
        changed
    }

    /// Changes all rows where they lie, outside of any transaction.
    pub fn change_in_place(&mut self, change: impl Fn(&mut Row)) {
        self.rows.values_mut().flat_map(BTreeMap::values_mut).for_each(change);
    }

    fn place(&mut self) -> u64 {
        self.places += 1;
        match self.is_shuffled {
            // The digits in another order are as good as chance, and repeat.
            true => self.places.wrapping_mul(0x9e37_79b9_7f4a_7c15),
            false => self.places,
        }
    }

    fn set_namespace(&mut self, name: &str, new: Option<Namespace>) {
        let before = self.namespaces.get(name).cloned();
        self.journal.push(Undo::Namespace(name.into(), before));
        put(&mut self.namespaces, name.into(), new);
    }

    fn set_listener(&mut self, uuid: Uuid, new: Option<Listener>) {
        let before = self.listeners.get(&uuid).cloned();
        self.journal.push(Undo::Listener(uuid, before));
        put(&mut self.listeners, uuid, new);
    }

    fn set_row(&mut self, listener: Uuid, subject: &str, new: Option<Row>) {
        let before = self.write(listener, subject, new);
        self.journal.push(Undo::Row(listener, subject.into(), before));
    }

    fn write(&mut self, listener: Uuid, subject: &str, new: Option<Row>) -> Option<Row> {
        let rows = self.rows.entry(listener).or_default();
        let before = rows.get(subject).cloned();
        if let Some(before) = &before {
            self.tokens.remove(&before.id);
        }
        if let Some(new) = &new {
            self.tokens.insert(new.id, (listener, subject.into()));
        }
        put(rows, subject.into(), new);
        before
    }
}

impl Row {
    /// It is to be had at once, whoever has it leased.
    pub fn rerun(&mut self) {
        self.last_tried = None;
    }

    fn is_due(&self, now: Duration) -> bool {
        let Some(last_tried) = self.last_tried else { return true };
        let doubled = 2u64.saturating_pow(self.fetched);
        now >= last_tried + Duration::from_secs(doubled.clamp(LEASE.0, LEASE.1))
    }

    fn token(&self) -> String {
        BASE64_STANDARD.encode(format!("{}.{}", self.id, self.generation))
    }
}

/// The row and the generation that a token names; none if it is not one.
pub fn read_token(token: &str) -> Option<(Uuid, Uuid)> {
    let text = String::from_utf8(BASE64_STANDARD.decode(token).ok()?).ok()?;
    let (id, generation) = text.split_once('.')?;
    Some((id.parse().ok()?, generation.parse().ok()?))
}

fn put<K: Ord, V>(map: &mut BTreeMap<K, V>, key: K, value: Option<V>) {
    match value {
        Some(value) => drop(map.insert(key, value)),
        None => drop(map.remove(&key)),
    }
}
