use super::*;
use crate::event::Message;

const START: u64 = 1_000;

struct Bench {
    publisher: Publisher,
    /// Routing keys and keys of what is on the channel.
    sent: Vec<(String, usize)>,
    /// What the broker was asked last.
    asked: Option<u64>,
}

fn exchange_of(outgoing: &Outgoing) -> &str {
    &outgoing.message().exchange
}

fn bench(keys: &[&str]) -> Bench {
    let mut publisher = Publisher::new("x");
    for (token, key) in (START..).zip(keys) {
        let message =
            Message { exchange: "x".into(), routing_key: (*key).into(), ..Message::default() };
        publisher.send(token, Outgoing::Message(message));
    }
    Bench { publisher, sent: Vec::new(), asked: None }
}

impl Bench {
    /// Publishes all that may be published now; gives their routing keys.
    fn publish(&mut self) -> Vec<String> {
        let before = self.sent.len();
        while let Some(step) = self.publisher.next_step(exchange_of) {
            match step {
                Step::Publish(key) => {
                    let name = self.publisher.outgoing(key).message().routing_key.clone();
                    self.sent.push((name, key));
                }
                Step::Ask(up_to) => self.asked = Some(up_to),
                Step::Check(_) => panic!("{step:?}"),
            }
        }
        self.sent[before..].iter().map(|(name, _)| name.clone()).collect()
    }

    fn take(&mut self, name: &str) -> usize {
        let at = self.sent.iter().position(|(sent, _)| sent == name).expect("it was sent");
        self.sent.remove(at).1
    }

    fn confirm(&mut self, name: &str) {
        let key = self.take(name);
        self.publisher.on_confirm(key, None);
    }

    /// With the confirm that was told last comes the return of the message with this routing key.
    fn give_back(&mut self, name: &str) {
        self.publisher.on_return("no queue".into(), |outgoing| {
            match outgoing.message().routing_key == name {
                true => Likeness::Same,
                false => Likeness::Other,
            }
        });
    }

    /// The broker answers what it was asked.
    fn answer(&mut self) {
        let up_to = self.asked.take().expect("it was asked");
        self.publisher.on_looked_at(up_to);
    }

    fn close(&mut self, code: u16, text: &str) {
        self.sent.clear();
        self.publisher.on_closed(&Refusal { code, text: text.into() }, exchange_of);
        self.publisher.on_opened();
    }

    /// Routing keys and fates.
    fn completed(&mut self) -> Vec<(String, Fate)> {
        self.publisher.on_all_told();
        std::iter::from_fn(|| self.publisher.next_completed())
            .map(|completed| (completed.outgoing.into_message().routing_key, completed.fate))
            .collect()
    }

    /// The routing keys of what cannot be delivered, and whether others are refused too.
    fn refused(&mut self) -> Vec<(String, bool)> {
        let refused = |(name, fate)| match fate {
            Fate::Refused(_) => Some((name, true)),
            Fate::Unacceptable(_) => Some((name, false)),
            Fate::Confirmed | Fate::Returned(_) | Fate::Nacked(_) => None,
        };
        self.completed().into_iter().filter_map(refused).collect()
    }
}

#[test]
fn fates_come_past_a_message_that_is_never_confirmed() {
    let mut bench = bench(&["a", "b", "c"]);
    assert_eq!(bench.publish(), ["a", "b", "c"]);
    bench.confirm("c");
    bench.confirm("b");
    let fates = bench.completed();
    assert_eq!(fates, [("c".into(), Fate::Confirmed), ("b".into(), Fate::Confirmed)]);
}

#[test]
fn a_return_may_be_told_after_the_confirm_that_it_belongs_to() {
    let mut bench = bench(&["a", "b", "b"]);
    bench.publish();
    ["a", "b", "b"].iter().for_each(|name| bench.confirm(name));
    bench.publisher.on_return("no queue".into(), |outgoing| {
        match outgoing.message().routing_key.as_str() {
            "b" => Likeness::Alike,
            _ => Likeness::Other,
        }
    });
    let fates: Vec<_> = bench.completed().into_iter().map(|(_, fate)| fate).collect();
    assert_eq!(fates, [Fate::Confirmed, Fate::Returned("no queue".into()), Fate::Confirmed]);
}

#[test]
fn a_confirm_that_came_with_the_return_of_another_waits_for_that_one() {
    let mut bench = bench(&["a", "b", "c"]);
    bench.publish();
    // All three are returned. With the confirm of c comes the return of a.
    bench.confirm("c");
    bench.give_back("a");
    assert_eq!(bench.completed(), [], "c may have been returned as well");
    bench.confirm("a");
    bench.give_back("b");
    let returned = |name: &str| (name.to_owned(), Fate::Returned("no queue".into()));
    assert_eq!(bench.completed(), [returned("a")]);
    bench.confirm("b");
    bench.give_back("c");
    assert_eq!(bench.completed(), [returned("c"), returned("b")]);
}

#[test]
fn a_confirm_that_came_with_the_return_of_another_ends_when_no_more_are_left() {
    let mut bench = bench(&["a", "b"]);
    bench.publish();
    bench.confirm("b");
    bench.give_back("a");
    assert_eq!(bench.completed(), []);
    bench.confirm("a");
    let fates = bench.completed();
    let returned = Fate::Returned("no queue".into());
    assert_eq!(fates, [("a".into(), returned), ("b".into(), Fate::Confirmed)]);
}

#[test]
fn a_return_that_is_like_no_message_belongs_to_its_confirm() {
    let mut bench = bench(&["a", "b"]);
    bench.publish();
    bench.confirm("a");
    bench.publisher.on_return("no queue".into(), |_| Likeness::Other);
    bench.confirm("b");
    let returned = ("a".into(), Fate::Returned("no queue".into()));
    assert_eq!(bench.completed(), [returned, ("b".into(), Fate::Confirmed)]);
}

#[test]
fn what_was_returned_on_a_channel_that_was_closed_is_published_again() {
    let mut bench = bench(&["a", "b", "poison"]);
    bench.publish();
    bench.confirm("a");
    bench.give_back("b");
    bench.close(406, "PRECONDITION_FAILED - invalid message");
    // Somebody has bound a queue meanwhile.
    let sent = bench.publish();
    assert_eq!(sent[0], "a");
    bench.confirm("a");
    assert_eq!(bench.publish()[0], "b");
    bench.confirm("b");
    let fates = bench.completed();
    let confirmed = |name: &str| (name.to_owned(), Fate::Confirmed);
    assert_eq!(fates, [confirmed("a"), confirmed("b")]);
}

#[test]
fn what_nobody_waits_for_has_no_fate() {
    let mut bench = bench(&["sent", "confirmed", "returned", "queued"]);
    bench.publish();
    let token = |at: u64| START + at;
    bench.publisher.send(token(4), Outgoing::Message(Message::default()));
    // Whether it was returned is not known yet.
    bench.confirm("confirmed");
    bench.give_back("returned");
    assert_eq!(bench.completed(), []);
    for at in [0, 1] {
        assert!(bench.publisher.abandon(token(at)).is_some(), "{at}");
    }
    assert_eq!(bench.publisher.abandon(token(4)), None, "it was not sent");
    assert!(bench.publisher.withdraw(token(4)).is_some());
    assert_eq!(bench.publisher.abandoned(), 2, "one was never sent");
    ["sent", "returned", "queued"].iter().for_each(|name| bench.confirm(name));
    let names: Vec<_> = bench.completed().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["returned", "queued"]);
    assert!(bench.publisher.is_empty() && bench.publisher.abandoned() == 0);
}

#[test]
fn the_only_message_on_a_channel_that_is_closed_is_to_blame() {
    let mut bench = bench(&["poison"]);
    bench.publish();
    bench.close(406, "PRECONDITION_FAILED - invalid message");
    let fates = bench.completed();
    assert!(
        matches!(&fates[..], [(_, Fate::Unacceptable(reason))]
            if reason.ends_with("406 PRECONDITION_FAILED - invalid message")),
        "{fates:?}"
    );
    assert!(bench.publisher.is_empty());
}

#[test]
fn no_message_is_to_blame_where_nothing_says_why() {
    let mut bench = bench(&["innocent"]);
    for _ in 0..2 {
        assert_eq!(bench.publish(), ["innocent"]);
        let Refusal { code, text } = Refusal::unknown();
        bench.close(code, &text);
    }
    assert_eq!(bench.publish(), ["innocent"]);
    bench.confirm("innocent");
    assert_eq!(bench.completed(), [("innocent".into(), Fate::Confirmed)]);
}

#[test]
fn suspects_go_one_by_one_until_the_one_to_blame_is_found() {
    let mut bench = bench(&["a", "b", "poison", "c", "d"]);
    bench.publish();
    bench.confirm("a");
    bench.close(406, "PRECONDITION_FAILED - invalid message");
    assert_eq!(bench.publish(), ["b"]);
    bench.confirm("b");
    assert_eq!(bench.publish(), ["poison"]);
    bench.close(406, "PRECONDITION_FAILED - invalid message");
    assert_eq!(bench.publish(), ["c", "d"], "the others go on, in order");
    assert_eq!(bench.refused(), [("poison".into(), false)]);
}

#[test]
fn a_confirm_that_never_comes_does_not_hold_up_the_search() {
    let mut bench = bench(&["withheld", "poison", "a"]);
    bench.publish();
    bench.close(406, "PRECONDITION_FAILED - invalid message");
    assert_eq!(bench.publish(), ["withheld"]);
    assert_eq!(bench.publish(), [] as [&str; 0], "until it has been looked at");
    bench.answer();
    assert_eq!(bench.publish(), ["poison"]);
    bench.close(406, "PRECONDITION_FAILED - invalid message");
    assert_eq!(bench.refused(), [("poison".into(), false)]);
    assert_eq!(bench.publish(), ["withheld", "a"]);
    assert_eq!(bench.asked, Some(5), "nothing is asked but for suspects");
}

#[test]
fn what_was_published_before_a_confirmed_message_is_innocent() {
    let mut bench = bench(&["withheld", "a", "poison"]);
    bench.publish();
    bench.confirm("a");
    bench.close(406, "PRECONDITION_FAILED - invalid message");
    assert_eq!(bench.refused(), [("poison".into(), false)], "at once");
    assert_eq!(bench.publish(), ["withheld"]);
}

#[test]
fn messages_that_share_a_token_are_given_up_one_by_one() {
    let mut bench = bench(&["a", "b", "c"]);
    let message = |key: &str| {
        let message =
            Message { exchange: "x".into(), routing_key: key.into(), ..Message::default() };
        Outgoing::Message(message)
    };
    bench.publish();
    bench.publisher.send(START, message("d"));
    bench.publish();
    bench.publisher.send(START, message("e"));
    let abandoned = std::iter::from_fn(|| bench.publisher.withdraw(START));
    let keys: Vec<String> = abandoned.map(|outgoing| outgoing.into_message().routing_key).collect();
    assert_eq!(keys, ["a", "d", "e"]);
    assert_eq!(bench.publisher.abandoned(), 2, "one was never sent");
    ["a", "b", "c", "d"].iter().for_each(|name| bench.confirm(name));
    let names: Vec<_> = bench.completed().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["b", "c"]);
    assert_eq!(bench.publisher.abandoned(), 0);
}

/// That it is not confirmed says nothing of it.
#[test]
fn what_waits_for_what_the_broker_says_of_its_exchange_is_not_given_up() {
    let mut bench = bench(&[]);
    let other = || Message { exchange: "other".into(), ..Message::default() };
    bench.publisher.send(START, Outgoing::Message(other()));
    bench.publisher.send(START + 1, Outgoing::Message(other()));
    let check = bench.publisher.next_step(exchange_of);
    assert_eq!(check, Some(Step::Check("other".into())));
    assert_eq!(bench.publisher.next_step(exchange_of), None);
    assert_eq!(bench.publisher.abandon(START), None);
    assert!(bench.publisher.withdraw(START + 1).is_some());
    bench.publisher.on_checked("other", Ok(()));
    assert_eq!(bench.publish(), [""], "the one that was not withdrawn");
    assert!(bench.publisher.abandon(START).is_some());
    assert_eq!(bench.publisher.abandoned(), 1);
}

#[test]
fn a_dead_letter_that_is_not_permitted_is_refused_as_it_is() {
    use crate::event::{Datetime, DeadKind, DeadLetter, Origin};
    let topic = "ACCESS_REFUSED - write access to topic 'p' in exchange 'x' in vhost '/' refused";
    for (code, text, is_its_own) in [
        (403, topic, false),
        (403, "ACCESS_REFUSED - in other words", false),
        (406, "PRECONDITION_FAILED - message size 9 is larger", true),
    ] {
        let mut bench = bench(&[]);
        let message = Message { exchange: "x".into(), ..Message::default() };
        let (kind, origin) = (DeadKind::Event, Origin { plugin: "p", version: "v" });
        let letter = DeadLetter::new(kind, origin, message, 1, "why".into(), Datetime::NO_DATE);
        bench.publisher.send(START, Outgoing::Dead(letter.into()));
        assert_eq!(bench.publish().len(), 1);
        bench.close(code, text);
        assert_eq!(bench.refused(), [(String::new(), !is_its_own)], "{text}");
    }
}

#[test]
fn a_channel_that_is_given_up_takes_what_nobody_waits_for_with_it() {
    let mut bench = bench(&["a", "b", "c"]);
    bench.publish();
    assert!(bench.publisher.abandon(START).is_some());
    bench.confirm("b");
    bench.publisher.on_given_up();
    assert_eq!((bench.publish(), bench.publisher.abandoned()), (Vec::new(), 0));
    bench.publisher.on_opened();
    assert_eq!(bench.publish(), ["c"]);
    let names: Vec<_> = bench.completed().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["b"]);
}

#[test]
fn what_was_copied_goes_on_no_other_channel_by_itself() {
    let mut bench = bench(&["late", "a"]);
    bench.publish();
    assert!(bench.publisher.copy(START).is_some());
    for _ in 0..10 {
        bench.publisher.on_given_up();
        bench.publisher.on_opened();
        assert_eq!(bench.publish(), ["a"], "whoever has the copy sends it again");
    }
    assert!(bench.publisher.withdraw(START).is_some(), "it was waited for until then");
    assert_eq!(bench.publisher.abandoned(), 0, "it is on no channel");
    bench.confirm("a");
    assert_eq!(bench.completed().len(), 1);
    assert!(bench.publisher.is_empty());
}

#[test]
fn what_was_copied_may_be_to_blame() {
    let mut bench = bench(&["poison", "a"]);
    bench.publish();
    assert!(bench.publisher.copy(START).is_some());
    bench.close(406, "PRECONDITION_FAILED - invalid message");
    assert_eq!(bench.publish(), ["poison"]);
    bench.close(406, "PRECONDITION_FAILED - invalid message");
    assert_eq!(bench.refused(), [("poison".into(), false)]);
}

#[test]
fn what_nobody_waits_for_may_be_to_blame() {
    let mut bench = bench(&["poison", "a"]);
    bench.publish();
    assert!(bench.publisher.abandon(START).is_some());
    bench.close(406, "PRECONDITION_FAILED - invalid message");
    assert_eq!(bench.publish(), ["a"]);
    bench.confirm("a");
    assert_eq!(bench.refused(), []);
}

#[test]
fn the_exchange_that_is_named_is_what_is_to_blame() {
    let mut bench = bench(&["a", "b"]);
    let other = |key: &str| {
        Outgoing::Message(Message {
            exchange: "y".into(),
            routing_key: key.into(),
            ..Message::default()
        })
    };
    bench.publisher.send(1, other("c"));
    bench.publisher.send(2, other("d"));
    for name in ["a", "b"] {
        let step = bench.publisher.next_step(exchange_of);
        assert!(matches!(step, Some(Step::Publish(_))), "{name}: {step:?}");
    }
    let step = bench.publisher.next_step(exchange_of);
    assert_eq!(step, Some(Step::Check("y".into())));
    assert_eq!(bench.publisher.next_step(exchange_of), None);
    bench.publisher.on_checked("y", Ok(()));
    assert_eq!(bench.publish(), ["c", "d"]);
    bench.close(403, "ACCESS_REFUSED - write access to exchange 'y' in vhost '/' refused");
    assert_eq!(bench.publish(), ["a", "b"], "they are not meant");
    bench.confirm("a");
    bench.confirm("b");
    assert_eq!(bench.publish(), ["c"], "alone");
    bench.close(403, "ACCESS_REFUSED - write access to exchange 'y' in vhost '/' refused");
    let refused = [("c".into(), true), ("d".into(), true)];
    assert_eq!(bench.refused(), refused, "what is said of the exchange holds for both");
}

#[test]
fn an_exchange_that_is_missing_is_checked_before_anything_is_blamed() {
    let mut bench = bench(&["a"]);
    bench.publish();
    bench.close(404, "NOT_FOUND - no exchange 'x' in vhost '/'");
    let step = bench.publisher.next_step(exchange_of);
    assert_eq!(step, Some(Step::Check("x".into())));
    bench.publisher.on_checked("x", Ok(()));
    assert_eq!(bench.publish(), ["a"]);
    bench.close(404, "NOT_FOUND - no exchange 'x' in vhost '/'");
    assert_eq!(bench.refused(), [("a".into(), true)]);
}

#[test]
fn an_exchange_that_cannot_be_used_refuses_all_that_waits_for_it() {
    let mut bench = bench(&["a", "b"]);
    bench.publisher.exchanges.clear();
    let step = bench.publisher.next_step(exchange_of);
    assert_eq!(step, Some(Step::Check("x".into())));
    assert_eq!(bench.publish(), [] as [&str; 0]);
    bench.publisher.on_checked("x", Err("it does not exist".into()));
    assert_eq!(bench.refused(), [("a".into(), true), ("b".into(), true)]);
}

#[test]
fn a_confirm_waits_for_the_last_of_the_returns_that_were_told_with_others() {
    let mut bench = bench(&["j", "k", "x", "y"]);
    assert_eq!(bench.publish(), ["j", "k", "x", "y"]);
    // Each with the return of the next one; the second of them is worked off before the third.
    for (confirmed, returned) in [("j", "k"), ("x", "y"), ("k", "x")] {
        bench.confirm(confirmed);
        bench.give_back(returned);
    }
    bench.confirm("y");
    let mut completed = bench.completed();
    completed.sort_by(|(one, _), (other, _)| one.cmp(other));
    let returned = || Fate::Returned("no queue".into());
    let expected =
        [("j", Fate::Confirmed), ("k", returned()), ("x", returned()), ("y", returned())];
    assert_eq!(completed, expected.map(|(name, fate)| (name.to_owned(), fate)));
    assert!(bench.publisher.is_empty());
}

#[test]
fn what_is_returned_again_on_a_new_channel_is_no_return_of_another() {
    let mut bench = bench(&["a", "b", "c"]);
    bench.publish();
    // With the confirm of a comes the return of b, and then the channel is closed.
    bench.confirm("a");
    bench.give_back("b");
    bench.close(0, "");
    // They are sent one by one; with the confirm of a comes the return of b again.
    let mut fates = Vec::new();
    loop {
        let sent = bench.publish();
        let Some(name) = sent.last() else { break };
        bench.confirm(name);
        if name == "b" {
            bench.give_back("b");
        }
        fates.extend(bench.completed());
    }
    fates.sort_by(|(one, _), (other, _)| one.cmp(other));
    let expected =
        [("a", Fate::Confirmed), ("b", Fate::Returned("no queue".into())), ("c", Fate::Confirmed)];
    assert_eq!(fates, expected.map(|(name, fate)| (name.to_owned(), fate)));
}
