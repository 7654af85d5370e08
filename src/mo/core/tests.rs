use std::ops::Range;

use super::*;
use crate::mo::documents;
use crate::mo::failure::Failure;
use crate::transport::Fate;

/// A driver on a clock that stands still until it is moved, and an MO that answers as told.
struct Scene {
    core: Core,
    now: Instant,
}

const RULES: Rules =
    Rules { batch: 5, pause: Duration::from_secs(5), keep: Duration::from_secs(3600) };

impl Scene {
    #[expect(clippy::disallowed_methods, reason = "where it starts does not matter")]
    fn new(keys: &[&str]) -> Self {
        let now = Instant::now();
        let mut scene = Self { core: Core::new(RULES, Jitter::none(), now), now };
        scene.want(keys);
        scene
    }

    /// The listeners are declared, and nothing has been fetched.
    fn declared(keys: &[&str]) -> Self {
        let mut scene = Self::new(keys);
        scene.declare(0..keys.len());
        assert!(matches!(scene.ask(), Some(Request::Rerun(uuids)) if uuids.len() == keys.len()));
        scene.core.on_reran(Ok(()), scene.now);
        scene
    }

    fn want(&mut self, keys: &[&str]) {
        self.want_and_keep(keys, keys);
    }

    fn want_and_keep(&mut self, keys: &[&str], kept: &[&str]) {
        let set = |keys: &[&str]| keys.iter().map(|key| (*key).to_owned()).collect();
        self.core.on_wanted(&set(keys), &set(kept), self.now);
    }

    /// MO declares, with these numbers as identities.
    fn declare(&mut self, numbers: Range<usize>) {
        let Some(Request::Declare(keys)) = self.ask() else { panic!("it declares first") };
        assert_eq!(keys.len(), numbers.len());
        let listeners = numbers.map(|number| listener(number, Uuid::nil())).collect();
        self.core.on_declared(keys, Ok(listeners), None, self.now);
    }

    fn ask(&mut self) -> Option<Request> {
        self.core.next_request(self.now)
    }

    /// What it fetches, how often of each key.
    fn fetches(&mut self) -> Option<Vec<(String, Uuid)>> {
        match self.ask()? {
            Request::Fetch(entries) => Some(entries),
            other => panic!("{other:?}"),
        }
    }

    fn give(&mut self, entries: Vec<(String, Uuid)>, tokens: &[&str]) {
        let events = tokens.iter().map(|token| {
            (!token.is_empty()).then(|| Event {
                subject: format!("about {token}"),
                priority: 10_000,
                token: (*token).into(),
            })
        });
        let events: Vec<Option<Event>> =
            events.chain(std::iter::repeat(None)).take(entries.len()).collect();
        self.core.on_fetched(entries, Ok(events), self.now);
    }

    /// Fetches, and MO gives these.
    fn fetch(&mut self, tokens: &[&str]) {
        let entries = self.fetches().expect("it fetches");
        self.give(entries, tokens);
    }

    /// Fetches until no more may be in flight, and MO has an event whenever it is asked. Gives how
    /// many there were.
    fn fill(&mut self) -> usize {
        let mut tokens = 0;
        while let Some(entries) = self.fetches() {
            let names: Vec<String> = entries
                .iter()
                .map(|_| {
                    tokens += 1;
                    tokens.to_string()
                })
                .collect();
            self.give(entries, &names.iter().map(String::as_str).collect::<Vec<_>>());
        }
        tokens
    }

    /// Hands everything to the sink; gives the tokens and what tells their fate.
    fn send(&mut self) -> Vec<(u64, String)> {
        let mut sent = Vec::new();
        while let Some((id, _, _, event)) = self.core.next_message(self.now) {
            sent.push((id, event.token.clone()));
        }
        sent
    }

    fn confirm(&mut self, sent: &[(u64, String)]) {
        sent.iter().for_each(|(id, _)| self.core.on_fate(*id, Fate::Confirmed, self.now));
    }

    fn acknowledge(&mut self) -> Option<(Vec<usize>, Vec<String>)> {
        let ids = self.core.next_acknowledgements(self.now)?;
        let tokens = self.core.tokens(&ids).into_iter().map(str::to_owned).collect();
        Some((ids, tokens))
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
    }

    fn notices(&mut self) -> Vec<Notice> {
        std::iter::from_fn(|| self.core.next_notice()).collect()
    }
}

fn listener(number: usize, owner: Uuid) -> documents::Listener {
    let uuid = Uuid::from_u128(number as u128 + 1);
    documents::Listener { uuid, owner, user_key: String::new(), routing_key: String::new() }
}

fn unavailable() -> Failure {
    Failure::unavailable("of the test")
}

#[test]
fn an_event_is_acknowledged_only_when_the_sink_has_it() {
    let mut scene = Scene::declared(&["person"]);
    scene.fetch(&["a"]);
    let sent = scene.send();
    assert_eq!(sent.len(), 1);
    assert_eq!(scene.acknowledge(), None);
    scene.confirm(&sent);
    let (ids, tokens) = scene.acknowledge().unwrap();
    assert_eq!(tokens, ["a"]);
    assert_eq!(scene.core.on_acknowledged(ids, Ok(()), scene.now), ["person"]);
    assert_eq!(scene.acknowledge(), None);
}

#[test]
fn where_there_is_more_whole_batches_are_fetched_and_others_wait_for_their_turn() {
    let mut scene = Scene::declared(&["engagement", "person"]);
    let first = scene.fetches().unwrap();
    assert_eq!(first.len(), 2, "each is asked once");
    scene.give(first, &["a", ""]);
    let second = scene.fetches().unwrap();
    assert!(second.len() == 4 && second.iter().all(|(key, _)| key == "engagement"));
    scene.give(second, &["b", "c"]);
    assert_eq!(scene.fetches(), None, "it has no more now");
    // Another transaction can have hidden what there is.
    scene.pass(Duration::from_millis(500));
    let third = scene.fetches().unwrap();
    assert!(third.len() == 1 && third[0].0 == "engagement");
    scene.give(third, &[]);
    scene.pass(Duration::from_secs(5));
    let fourth = scene.fetches().unwrap();
    assert_eq!(fourth.len(), 2, "all in one request");
    scene.give(fourth, &[]);
    assert_eq!(scene.fetches(), None);
    assert_eq!(scene.core.wake_at(), Some(scene.now + RULES.pause));
}

#[test]
fn without_events_there_is_one_request_each_pause() {
    let keys = ["address", "engagement", "person", "org_unit", "leave", "kle", "facet", "class"];
    let mut scene = Scene::new(&keys);
    // A batch has room for five.
    scene.declare(0..5);
    scene.declare(5..8);
    assert!(matches!(scene.ask(), Some(Request::Rerun(_))));
    scene.core.on_reran(Ok(()), scene.now);
    let mut requests = 0;
    let end = scene.now + RULES.pause * 20;
    while scene.now < end {
        if let Some(entries) = scene.fetches() {
            requests += 1;
            scene.give(entries, &[]);
        }
        scene.now = scene.core.wake_at().unwrap();
    }
    assert_eq!(requests, 20);
}

#[test]
fn a_token_in_flight_is_not_taken_twice() {
    let mut scene = Scene::declared(&["person"]);
    scene.fetch(&["a"]);
    let sent = scene.send();
    scene.fetch(&["a", "b"]);
    let more = scene.send();
    assert_eq!(more.len(), 1, "a is in flight; its lease has ended");
    assert_eq!(more[0].1, "b");
    scene.confirm(&sent);
    scene.confirm(&more);
    let (ids, tokens) = scene.acknowledge().unwrap();
    assert_eq!(tokens, ["a", "b"]);
    scene.core.on_acknowledged(ids, Ok(()), scene.now);
    scene.pass(RULES.pause);
    scene.fetch(&["a"]);
    assert_eq!(scene.send().len(), 1, "it was acknowledged, and has come again");
}

#[test]
fn what_is_in_flight_is_bounded() {
    let mut scene = Scene::declared(&["person"]);
    let tokens = scene.fill();
    assert_eq!(tokens, RULES.batch * BATCHES);
    let sent = scene.send();
    scene.confirm(&sent[..1]);
    assert_eq!(scene.fetches(), None, "it is not acknowledged");
}

#[test]
fn a_rejected_acknowledgement_is_told_one_by_one() {
    let mut scene = Scene::declared(&["person"]);
    scene.fetch(&["a"]);
    scene.fetch(&["b", "c"]);
    let sent = scene.send();
    scene.confirm(&sent);
    let rejected = || Err(Failure::Rejected("cannot parse".into()));
    let (ids, _) = scene.acknowledge().unwrap();
    assert_eq!(ids.len(), 3);
    assert!(scene.core.on_acknowledged(ids, rejected(), scene.now).is_empty());
    let mut done = Vec::new();
    let mut asked = Vec::new();
    while let Some((ids, tokens)) = scene.acknowledge() {
        assert_eq!(tokens.len(), 1);
        let answer = if tokens[0] == "b" { rejected() } else { Ok(()) };
        done.extend(scene.core.on_acknowledged(ids, answer, scene.now));
        asked.extend(tokens);
        scene.pass(Duration::from_secs(1));
    }
    assert_eq!(
        asked,
        ["a", "b", "c", "b", "b"],
        "the one that is wrong is tried again, and not for ever"
    );
    assert_eq!(done.len(), 2);
    let expected = Notice::Unacknowledged("person".into(), "about b".into(), "cannot parse".into());
    assert_eq!(scene.notices().last(), Some(&expected));
}

#[test]
fn while_mo_takes_no_acknowledgements_no_more_is_fetched_than_may_be_in_flight() {
    let mut scene = Scene::declared(&["person"]);
    scene.fill();
    let sent = scene.send();
    scene.confirm(&sent);
    for _ in 0..RULES.batch + 1 {
        let Some((ids, _)) = scene.acknowledge() else { panic!("it acknowledges") };
        let rejected = Err(Failure::Rejected("something unexpected".into()));
        scene.core.on_acknowledged(ids, rejected, scene.now);
        assert_eq!(scene.fetches(), None, "what is in flight stays so");
        scene.pass(Duration::from_secs(5));
    }
    assert!(scene.core.failed_acknowledgements() > 1, "which is told");
}

#[test]
fn a_listener_whose_events_mo_refuses_is_told_and_holds_up_no_other() {
    let mut scene = Scene::declared(&["engagement", "person"]);
    scene.notices();
    let refused = || Err(Failure::Rejected("something unexpected".into()));
    let both = scene.fetches().unwrap();
    assert_eq!(both.len(), 2);
    scene.core.on_fetched(both, refused(), scene.now);
    let answer = |scene: &mut Scene| {
        let entries = scene.fetches().unwrap();
        assert_eq!(entries.len(), 1, "which of them it is shows one alone");
        match &*entries[0].0 {
            "engagement" => scene.core.on_fetched(entries, refused(), scene.now),
            _ => scene.give(entries, &[]),
        }
    };
    answer(&mut scene);
    answer(&mut scene);
    assert_eq!(scene.fetches(), None);
    assert!(scene.notices().is_empty(), "once does not matter");
    scene.pass(Duration::from_millis(250));
    answer(&mut scene);
    let expected = Notice::Unfetched("engagement".into(), "something unexpected".into());
    assert_eq!(scene.notices(), [expected]);
    scene.pass(Duration::from_millis(500));
    let entries = scene.fetches().unwrap();
    assert_eq!(entries[0].0, "engagement");
    scene.give(entries, &[]);
    assert_eq!(scene.notices(), [Notice::Fetched("engagement".into())]);
    scene.pass(RULES.pause);
    assert_eq!(scene.fetches().unwrap().len(), 2, "together again");
}

#[test]
fn a_request_that_fails_is_sent_again_after_growing_pauses() {
    let mut scene = Scene::declared(&["person"]);
    for pause in [250, 500, 1000] {
        let entries = scene.fetches().unwrap();
        scene.core.on_fetched(entries, Err(unavailable()), scene.now);
        assert_eq!(scene.ask(), None);
        scene.pass(Duration::from_millis(pause));
    }
    let busy =
        Failure::Unavailable { text: "busy".into(), retry_after: Some(Duration::from_secs(60)) };
    let entries = scene.fetches().unwrap();
    scene.core.on_fetched(entries, Err(busy), scene.now);
    scene.pass(Duration::from_secs(59));
    assert_eq!(scene.ask(), None, "it wants not to be asked");
    scene.pass(Duration::from_secs(1));
    // What it leased in an answer that was lost comes again at once.
    assert!(matches!(scene.ask(), Some(Request::Rerun(_))));
    scene.core.on_reran(Ok(()), scene.now);
    assert!(scene.fetches().is_some());
}

#[test]
fn nothing_is_fetched_while_the_sink_takes_nothing() {
    let mut scene = Scene::declared(&["person"]);
    scene.core.on_sink(false);
    assert_eq!(scene.ask(), None);
    scene.core.on_sink(true);
    scene.fetch(&["a"]);
    assert_eq!(scene.send().len(), 1);
    scene.core.on_sink_lost();
    assert_eq!(scene.send().len(), 1, "for the next sink");
}

#[test]
fn what_the_sink_does_not_take_waits_and_holds_up_no_other() {
    let mut scene = Scene::declared(&["engagement", "person"]);
    scene.fetch(&["a", "b"]);
    let sent = scene.send();
    let refused = Fate::Returned("no queue".into());
    scene.core.on_fate(sent[0].0, refused, scene.now);
    scene.confirm(&sent[1..]);
    assert_eq!(scene.acknowledge().unwrap().1, ["b"]);
    let expected = Notice::Stuck("engagement".into(), "no queue".into());
    assert!(scene.notices().contains(&expected));
    let entries = scene.fetches().unwrap();
    assert!(entries.iter().all(|(key, _)| key == "person"), "{entries:?}");
    scene.give(entries, &[]);
    assert!(scene.send().is_empty());
    scene.pass(Duration::from_millis(250));
    let again = scene.send();
    assert_eq!(again.len(), 1);
    scene.confirm(&again);
    assert!(scene.notices().contains(&Notice::Unstuck("engagement".into())));
    let fetched = scene.fetches().unwrap();
    assert!(fetched.iter().any(|(key, _)| key == "engagement"));
}

#[test]
fn one_full_queue_pauses_its_key_until_it_takes_all() {
    let mut scene = Scene::declared(&["person"]);
    scene.fetch(&["a", "b"]);
    scene.notices();
    let sent = scene.send();
    scene.core.on_fate(sent[0].0, Fate::Nacked("full".into()), scene.now);
    scene.confirm(&sent[1..]);
    scene.acknowledge();
    let told = scene.notices();
    assert!(told.contains(&Notice::Stuck("person".into(), "full".into())), "{told:?}");
    let unstuck = Notice::Unstuck("person".into());
    assert!(!told.contains(&unstuck), "one of two is not all: {told:?}");
    assert_eq!(scene.fetches(), None, "what MO has waits at MO");
    scene.pass(Duration::from_secs(1));
    assert!(scene.send().is_empty(), "each copy is one too many for the other queues");
    scene.pass(Duration::from_secs(4));
    let again = scene.send();
    assert_eq!(again.len(), 1);
    scene.confirm(&again);
    assert!(scene.notices().contains(&unstuck));
    assert!(scene.fetches().is_some());
}

#[test]
fn a_listener_that_somebody_deleted_is_noticed_and_is_there_again() {
    let mut scene = Scene::declared(&["person"]);
    scene.notices();
    scene.fetch(&[]);
    scene.pass(RULES.pause * DECLARE_EVERY);
    scene.declare(0..1);
    assert_eq!(scene.notices(), [Notice::Declared("person".into())]);
    scene.fetch(&[]);
    scene.pass(RULES.pause * DECLARE_EVERY);
    scene.declare(7..8);
    let notices = scene.notices();
    let uuid = listener(7, Uuid::nil()).uuid;
    assert!(notices.contains(&Notice::Deleted("person".into())));
    assert_eq!(notices.last(), Some(&Notice::Listening("person".into(), uuid)));
    assert_eq!(scene.fetches().unwrap()[0].1, Uuid::from_u128(8), "the new one is asked");
}

#[test]
fn a_client_that_mo_takes_for_another_one_has_another_listener() {
    let mut scene = Scene::declared(&["person"]);
    scene.notices();
    scene.fetch(&[]);
    scene.pass(RULES.pause * DECLARE_EVERY);
    let Some(Request::Declare(keys)) = scene.ask() else { panic!("it declares") };
    let us = Uuid::from_u128(6);
    scene.core.on_declared(keys, Ok(vec![listener(7, us)]), Some(us), scene.now);
    let notices = scene.notices();
    assert!(notices.contains(&Notice::Moved("person".into(), Uuid::nil(), us)), "{notices:?}");
    assert!(!notices.contains(&Notice::Deleted("person".into())), "{notices:?}");
    assert_eq!(scene.fetches().unwrap()[0].1, Uuid::from_u128(8), "the new one is asked");
}

#[test]
fn a_listener_of_somebody_else_is_reported_and_not_asked() {
    let mut scene = Scene::new(&["person"]);
    let Some(Request::Declare(keys)) = scene.ask() else { panic!("it declares") };
    let (owner, us) = (Uuid::from_u128(5), Uuid::from_u128(6));
    scene.core.on_declared(keys, Ok(vec![listener(0, owner)]), Some(us), scene.now);
    assert_eq!(scene.notices(), [Notice::Foreign("person".into(), owner)]);
    assert_eq!(scene.ask(), None);

    // Once that one is gone, there can be one of ours. We are who we were.
    scene.pass(RULES.pause * DECLARE_EVERY);
    let Some(Request::Declare(keys)) = scene.ask() else { panic!("it declares") };
    scene.core.on_declared(keys, Ok(vec![listener(1, us)]), Some(us), scene.now);
    let notices = scene.notices();
    assert!(!notices.iter().any(|notice| matches!(notice, Notice::Moved(..))), "{notices:?}");
}

#[test]
fn a_listener_that_cannot_be_declared_holds_up_no_other() {
    let mut scene = Scene::new(&["engagement", "person"]);
    let rejected = || Err(Failure::Rejected("another routing_key".into()));
    let Some(Request::Declare(keys)) = scene.ask() else { panic!("it declares") };
    scene.core.on_declared(keys, rejected(), None, scene.now);
    for number in 0..2 {
        let Some(Request::Declare(keys)) = scene.ask() else { panic!("one by one") };
        assert_eq!(keys.len(), 1);
        let answer = match &*keys[0] {
            "person" => rejected(),
            _ => Ok(vec![listener(number, Uuid::nil())]),
        };
        scene.core.on_declared(keys, answer, None, scene.now);
    }
    let expected = Notice::Undeclared("person".into(), "another routing_key".into());
    assert!(scene.notices().contains(&expected));
    assert!(matches!(scene.ask(), Some(Request::Rerun(uuids)) if uuids.len() == 1));
    scene.core.on_reran(Ok(()), scene.now);
    scene.fetch(&[]);
    // It is tried again soon, and what was leased to nobody comes again then.
    for pause in [1, 2] {
        assert_eq!(scene.ask(), None);
        assert!(scene.core.wake_at() <= Some(scene.now + Duration::from_secs(pause)));
        scene.pass(Duration::from_secs(pause));
        let Some(Request::Declare(keys)) = scene.ask() else { panic!("it declares again") };
        assert_eq!(keys, ["person"]);
        let answer = if pause == 1 { rejected() } else { Ok(vec![listener(2, Uuid::nil())]) };
        scene.core.on_declared(keys, answer, None, scene.now);
    }
    assert!(scene.notices().contains(&Notice::Declared("person".into())));
    scene.fetch(&[]);
    scene.pass(Duration::from_secs(10));
    assert!(
        matches!(scene.ask(), Some(Request::Rerun(uuids)) if uuids == [listener(2, Uuid::nil()).uuid])
    );
}

#[test]
fn leased_events_that_cannot_come_again_now_do_so_later() {
    for failure in [unavailable(), Failure::Unauthenticated("expired".into())] {
        let mut scene = Scene::new(&["person"]);
        scene.declare(0..1);
        assert!(matches!(scene.ask(), Some(Request::Rerun(_))));
        scene.core.on_reran(Err(failure), scene.now);
        scene.pass(Duration::from_secs(10));
        assert!(matches!(scene.ask(), Some(Request::Rerun(_))));
    }
    // MO could not then, and may be able to after the next lost answer.
    let mut scene = Scene::new(&["person"]);
    scene.declare(0..1);
    assert!(matches!(scene.ask(), Some(Request::Rerun(_))));
    scene.core.on_reran(Err(Failure::Rejected("something unexpected".into())), scene.now);
    let entries = scene.fetches().unwrap();
    scene.core.on_fetched(entries, Err(unavailable()), scene.now);
    scene.pass(Duration::from_secs(10));
    assert!(matches!(scene.ask(), Some(Request::Rerun(_))));
}

#[test]
fn a_listener_that_nobody_needs_is_deleted_when_it_was_kept_for_long_enough() {
    let mut scene = Scene::declared(&["engagement", "person"]);
    scene.fetch(&[]);
    scene.want(&["person"]);
    scene.pass(RULES.keep - Duration::from_secs(1));
    scene.want(&["engagement", "person"]);
    let Some(Request::Declare(keys)) = scene.ask() else { panic!("it is declared again") };
    scene.core.on_declared(keys, Ok(vec![listener(0, Uuid::nil())]), None, scene.now);
    scene.want(&["person"]);
    scene.pass(RULES.keep);
    scene.declare(1..2);
    // What the return of the first has left to be done.
    let mut requests: Vec<Request> = Vec::new();
    while let Some(request) = scene.ask() {
        match &request {
            Request::Delete(key, _) => scene.core.on_deleted(key.clone(), Ok(()), scene.now),
            Request::Fetch(entries) => scene.give(entries.clone(), &[]),
            other => panic!("{other:?}"),
        }
        requests.push(request);
    }
    assert!(matches!(&requests[0], Request::Delete(key, _) if key == "engagement"));
    assert!(scene.notices().contains(&Notice::Retired("engagement".into())));
}

/// The listeners that are deleted after so much time.
fn deleted_after(scene: &mut Scene, time: Duration) -> Vec<String> {
    scene.pass(time);
    let mut deleted = Vec::new();
    while let Some(request) = scene.ask() {
        match request {
            Request::Delete(key, _) => {
                scene.core.on_deleted(key.clone(), Ok(()), scene.now);
                deleted.push(key);
            }
            Request::Declare(keys) => {
                let listeners = keys.iter().map(|_| listener(0, Uuid::nil())).collect();
                scene.core.on_declared(keys, Ok(listeners), None, scene.now);
            }
            Request::Rerun(_) => scene.core.on_reran(Ok(()), scene.now),
            Request::Fetch(entries) => scene.give(entries, &[]),
        }
    }
    deleted
}

#[test]
fn the_time_in_which_another_router_fetched_does_not_count() {
    let mut scene = Scene::declared(&["person"]);
    scene.want(&[]);
    assert!(deleted_after(&mut scene, RULES.keep / 2).is_empty());
    // There a plugin may ask for it, and did.
    scene.pass(RULES.keep);
    scene.core.on_takeover(scene.now);
    assert!(deleted_after(&mut scene, Duration::ZERO).is_empty());
    assert!(deleted_after(&mut scene, RULES.keep / 2).is_empty());
    assert_eq!(deleted_after(&mut scene, RULES.keep / 2), ["person"]);
}

#[test]
fn what_waiting_plugins_ask_for_is_kept_and_not_fetched() {
    let mut scene = Scene::declared(&["person"]);
    scene.want_and_keep(&[], &["person"]);
    scene.pass(RULES.pause);
    assert_eq!(scene.fetches(), None);
    for _ in 0..3 {
        assert!(deleted_after(&mut scene, RULES.keep / 2).is_empty());
        scene.want_and_keep(&[], &["person"]);
    }
    scene.want(&[]);
    assert_eq!(deleted_after(&mut scene, RULES.keep), ["person"]);
}

#[test]
fn what_is_stuck_when_nobody_needs_it_any_more_goes_with_its_listener() {
    let mut scene = Scene::declared(&["engagement", "person"]);
    scene.fetch(&["a"]);
    let sent = scene.send();
    scene.core.on_fate(sent[0].0, Fate::Returned("no queue".into()), scene.now);
    scene.want(&["person"]);
    assert!(scene.notices().contains(&Notice::Unwanted("engagement".into())));
    scene.pass(Duration::from_secs(60));
    assert!(scene.send().is_empty(), "nobody takes it");
    scene.pass(RULES.keep);
    scene.declare(1..2);
    assert!(matches!(scene.ask(), Some(Request::Delete(..))));
    scene.core.on_deleted("engagement".into(), Ok(()), scene.now);
    scene.core.on_stop(scene.now);
    assert!(scene.core.is_done());
    assert!(scene.core.flights.is_empty() && scene.core.by_token.is_empty());
}

#[test]
fn a_stop_finishes_what_is_in_flight() {
    let mut scene = Scene::declared(&["person"]);
    scene.fetch(&["a"]);
    let sent = scene.send();
    let entries = scene.fetches().unwrap();
    scene.core.on_stop(scene.now);
    assert!(!scene.core.is_done(), "an answer is under way");
    scene.give(entries, &["b"]);
    assert_eq!(scene.ask(), None);
    assert!(!scene.core.is_done());
    let more = scene.send();
    scene.confirm(&sent);
    scene.confirm(&more);
    let (ids, tokens) = scene.acknowledge().unwrap();
    assert_eq!(tokens.len(), 2);
    assert!(!scene.core.is_done());
    scene.core.on_acknowledged(ids, Ok(()), scene.now);
    assert!(scene.core.is_done());
}

#[test]
fn a_stop_does_not_wait_for_an_mo_that_is_gone() {
    let mut scene = Scene::declared(&["person"]);
    scene.fetch(&["a"]);
    let sent = scene.send();
    scene.confirm(&sent);
    scene.core.on_stop(scene.now);
    let (ids, _) = scene.acknowledge().unwrap();
    scene.core.on_acknowledged(ids, Err(unavailable()), scene.now);
    assert!(scene.core.is_done());
}

#[test]
fn without_the_right_to_rerun_it_goes_on() {
    let mut scene = Scene::new(&["person"]);
    scene.declare(0..1);
    assert!(matches!(scene.ask(), Some(Request::Rerun(_))));
    scene.core.on_reran(Err(Failure::Forbidden("no role".into())), scene.now);
    assert!(scene.notices().contains(&Notice::NotRerun("no role".into())));
    let entries = scene.fetches().unwrap();
    scene.core.on_fetched(entries, Err(unavailable()), scene.now);
    scene.pass(Duration::from_secs(60));
    assert!(scene.fetches().is_some(), "and does not try again");
}
