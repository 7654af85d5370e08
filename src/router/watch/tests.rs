use super::sample::AT_ONCE;
use super::*;

const PERSON: Uuid = Uuid::from_u128(1);

fn author() -> Author {
    let text = |text: &str| text.to_owned();
    Author {
        plugin: text("p"),
        version: text("1"),
        granted: Vec::new(),
        output_exchange: text("routed"),
    }
}

fn decide(watch: &Watch, second: i64, size: usize, decided: Decided) -> bool {
    let event = Incoming {
        routing_key: "employee.it.create".into(),
        body: vec![b'x'; size].into(),
        ..Incoming::default()
    };
    let at = Datetime::from_unix(second, 0).unwrap();
    let subject = || Subject::Event(event.clone());
    let seen = watch.look("p", &event.routing_key, Some(PERSON), at, subject);
    let is_seen = seen.is_some();
    if let Some(seen) = seen {
        seen.tell(&author(), 1, decided, None, &[]);
    }
    is_seen
}

#[tokio::test]
async fn only_what_is_wanted_is_shown() {
    let watch = Arc::new(Watch::default());
    assert!(!decide(&watch, 0, 1, Decided::Dead));
    let wanted = Wanted { decided: Some(Decided::Dead), ..Wanted::default() };
    let mut dead = watch.open(wanted).unwrap();
    let topic = Some("org_unit.#".to_owned());
    let others = watch.open(Wanted { topic, ..Wanted::default() }).unwrap();
    decide(&watch, 0, 1, Decided::Dropped);
    decide(&watch, 0, 1, Decided::Dead);
    assert_eq!(dead.next().await.unwrap().decided, Decided::Dead);
    assert_eq!(dead.counts(), Counts { matched: 1, shown: 1, missed: 0 });
    assert_eq!(others.counts(), Counts::default());
    drop((dead, others));
    assert!(!decide(&watch, 0, 1, Decided::Dead), "nobody looks any more");
}

#[tokio::test]
async fn all_who_look_share_what_is_written() {
    let watch = Arc::new(Watch::default());
    let open = |uuid| watch.open(Wanted { uuid, ..Wanted::default() }).unwrap();
    let mut looking = [open(None), open(Some(PERSON))];
    let other = open(Some(Uuid::from_u128(2)));
    decide(&watch, 0, 1, Decided::Dropped);
    let mut texts = Vec::new();
    for watching in &mut looking {
        let decision = watching.next().await.unwrap();
        texts.push(decision.written(|_| format!("written {}", texts.len())));
    }
    assert_eq!(texts[0], texts[1]);
    assert_eq!(other.counts(), Counts::default());
}

#[test]
fn what_is_decided_on_is_not_asked_for_where_nobody_has_room() {
    let watch = Arc::new(Watch::default());
    let _watching = watch.open(Wanted::default()).unwrap();
    (0..AT_ONCE).for_each(|_| assert!(decide(&watch, 0, 1, Decided::Published)));
    let at = Datetime::from_unix(0, 0).unwrap();
    let seen = watch.look("p", "employee.it.create", None, at, || panic!("it is asked for"));
    assert!(seen.is_some(), "it is counted");
}

#[test]
fn so_many_a_second_are_shown_and_the_others_counted() {
    let watch = Arc::new(Watch::default());
    let watching = watch.open(Wanted::default()).unwrap();
    for second in 0..2 {
        (0..200).for_each(|_| assert!(decide(&watch, second, 1, Decided::Published)));
    }
    let shown = 2 * AT_ONCE.unsigned_abs();
    assert_eq!(watching.counts(), Counts { matched: 400, shown, missed: 0 });
}

#[tokio::test]
async fn who_is_slow_misses_some_and_is_told() {
    let watch = Arc::new(Watch::default());
    let mut watching = watch.open(Wanted::default()).unwrap();
    decide(&watch, 0, 2 * WAITING_BYTES, Decided::Published);
    decide(&watch, 0, 1, Decided::Published);
    assert_eq!(watching.counts(), Counts { matched: 2, shown: 1, missed: 1 });
    watching.next().await.unwrap();
    decide(&watch, 0, 1, Decided::Published);
    assert_eq!(watching.counts(), Counts { matched: 3, shown: 2, missed: 1 });
    (0..2 * WAITING as i64).for_each(|second| {
        decide(&watch, second, 1, Decided::Published);
    });
    assert_eq!(watching.counts().shown, 1 + WAITING as u64);
}

#[test]
fn not_more_than_so_many_look() {
    let watch = Arc::new(Watch::default());
    let watching: Vec<_> = (0..MOST).map(|_| watch.open(Wanted::default()).unwrap()).collect();
    assert!(watch.open(Wanted::default()).is_none());
    drop(watching);
    assert!(watch.open(Wanted::default()).is_some());
}
