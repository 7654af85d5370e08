//! What a local store does with a file of which some bytes are no longer what they were.

use std::fs;

use mo_router::clock::Clock;
use mo_router::delay::{self, Filter, Store};
use mo_router::event::Delayed;
use mo_router::transport::Fate;

use super::file::file;
use super::{Home, Router, accept, at, delayed, done, keyed, number_of, stored, until_stored};
use crate::support::ask_until;

/// How many bytes a page of the file has, and the first of those that hold rows of a table.
const PAGE: usize = 4096;
const ROWS: u8 = 0x0d;

/// Changes the closed file's one page with rows in which these bytes are.
fn damage(home: &Home, bytes: &[u8], change: impl Fn(&mut [u8], usize)) {
    let mut content = fs::read(file(home)).unwrap();
    let mut found = 0;
    for page in content.chunks_exact_mut(PAGE).filter(|page| page[0] == ROWS) {
        if let Some(start) = page.windows(bytes.len()).position(|part| part == bytes) {
            change(page, start);
            found += 1;
        }
    }
    assert_eq!(found, 1, "one row has these bytes");
    fs::write(file(home), content).unwrap();
}

/// Damages a row, but none of the indexes' entries for it: so they no longer fit.
fn damage_row(home: &Home, bytes: &[u8]) {
    damage(home, bytes, |page, start| page[start + bytes.len() - 1] ^= 1);
}

/// A file with these messages, which nobody has open.
async fn closed(messages: impl IntoIterator<Item = Delayed>) -> Home {
    let home = Home::sqlite();
    let store = home.open().await;
    accept(&store, messages).await;
    store.close().await;
    home
}

/// The ids of all rows that can be read, in the order in which they were stored.
async fn rows(store: &Store) -> Vec<String> {
    let page = store.page(0, 1000).await.unwrap();
    page.iter().map(|stored| stored.delayed.message.id().to_owned()).collect()
}

/// A message, and the bytes of a column of it that an index has as well.
fn damaged(column: &str) -> (Delayed, Vec<u8>) {
    let message =
        Delayed { uuid: "a person of its own".into(), ..keyed("damaged", at(1), "a key") };
    let bytes = match column {
        "uuid" => message.uuid.clone().into_bytes(),
        "due" => message.due.unix_micros().to_be_bytes().to_vec(),
        "key" => b"a key".to_vec(),
        _ => unreachable!(),
    };
    (message, bytes)
}

#[tokio::test]
async fn a_row_that_no_index_entry_fits_leaves_and_stops_nothing() {
    for column in ["uuid", "due", "key"] {
        let (message, bytes) = damaged(column);
        let home = closed([message, delayed("b", at(2))]).await;
        damage_row(&home, &bytes);
        let store = home.open().await;
        let mut router = Router::start(&store, &Clock::starting_at(at(10)));
        assert_eq!(router.next_arrives().await, "damaged", "{column}");
        assert_eq!(router.next_arrives().await, "b");
        ask_until("both to be removed", || async { rows(&store).await.is_empty().then_some(()) })
            .await;
        accept(&store, [delayed("c", at(3))]).await;
        assert_eq!(router.next_arrives().await, "c");
        router.stop().await;
        store.close().await;
        drop(store);

        // Nor does what is left of it in the index.
        let store = home.open().await;
        accept(&store, [delayed("d", at(4))]).await;
        let mut router = Router::start(&store, &Clock::starting_at(at(10)));
        assert_eq!(router.next_arrives().await, "d");
        router.stop().await;
    }
}

#[tokio::test]
async fn a_row_that_no_index_entry_fits_is_put_off_like_others() {
    let (message, bytes) = damaged("due");
    let home = closed([message]).await;
    damage_row(&home, &bytes);
    let store = home.open().await;
    let clock = Clock::starting_at(at(10));
    let mut router = Router::start(&store, &clock);
    let (token, message) = router.next().await;
    router.confirm(token, message, Fate::Nacked("the queue is full".into()));
    accept(&store, [delayed("b", at(2))]).await;
    assert_eq!(router.next_arrives().await, "b", "it is not sent again before its time");
    clock.set(at(500));
    assert_eq!(router.next_arrives().await, "damaged");
    router.stop().await;
    assert_eq!(rows(&store).await, [""; 0]);
}

#[tokio::test]
async fn a_message_that_replaces_a_damaged_one_is_stored() {
    for column in ["uuid", "due", "key"] {
        let (message, bytes) = damaged(column);
        let home = closed([message]).await;
        damage_row(&home, &bytes);
        let store = home.open().await;
        accept(&store, [keyed("new", at(20), "a key"), delayed("other", at(30))]).await;
        let page = store.page(0, 10).await.unwrap();
        let found: Vec<_> = page
            .iter()
            .map(|stored| (stored.delayed.message.id(), stored.delayed.key.as_deref()))
            .collect();
        assert_eq!(found, [("new", Some("a key")), ("other", None)], "{column}");
    }
}

#[tokio::test]
async fn people_change_rows_that_no_index_entry_fits() {
    for column in ["uuid", "due", "key"] {
        let (message, bytes) = damaged(column);
        let home = closed([message, delayed("b", at(2))]).await;
        damage_row(&home, &bytes);
        let store = home.open().await;
        let (id, other) = (number_of(&store, "damaged").await, number_of(&store, "b").await);
        assert_eq!(store.reschedule(vec![id], at(100)).await.unwrap(), done(&[id]), "{column}");
        assert_eq!(store.cancel(vec![id, other]).await.unwrap(), done(&[id, other]));
        assert_eq!(rows(&store).await, [""; 0]);
    }
}

/// It says that it is a fraction, in a row whose other columns say what they did.
async fn with_unreadable_due() -> Home {
    let mut message = delayed("damaged", at(1));
    message.message.exchange = "another".into();
    let home = closed([message, delayed("b", at(2))]).await;
    // The types of the columns uuid, exchange and routing_key: texts of 36, 7 and 18 bytes.
    let types = [36_u8, 7, 18].map(|length| 13 + 2 * length);
    // Before them are due, plugin, version and key.
    damage(&home, &types, |page, start| page[start - 4] = 7);
    home
}

#[tokio::test]
async fn a_row_whose_due_time_cannot_be_read_is_set_aside_and_cancelled() {
    let home = with_unreadable_due().await;
    let store = home.open().await;
    let mut router = Router::start(&store, &Clock::starting_at(at(10)));
    assert_eq!(router.next_arrives().await, "b");
    router.stop().await;
    until_stored(&store, &["damaged"]).await;
    let id = number_of(&store, "damaged").await;
    let shown = store.show(id).await.unwrap().unwrap().damage.unwrap_or_default();
    assert!(shown.contains("its due time cannot be read"), "{shown}");
    assert_eq!(store.count(Filter::default(), at(0)).await.unwrap().total, 1);
    assert_eq!(store.cancel(vec![id]).await.unwrap(), done(&[id]));
    assert_eq!(rows(&store).await, [""; 0]);
}

#[tokio::test]
async fn a_row_whose_due_time_cannot_be_read_leaves_when_people_say() {
    let home = with_unreadable_due().await;
    let store = home.open().await;
    let id = number_of(&store, "damaged").await;
    assert_eq!(store.reschedule(vec![id], at(500)).await.unwrap(), done(&[id]));
    let clock = Clock::starting_at(at(10));
    let mut router = Router::start(&store, &clock);
    assert_eq!(router.next_arrives().await, "b", "an index has still when it was due before");
    clock.set(at(500));
    assert_eq!(router.next_arrives().await, "damaged");
    router.stop().await;
    assert_eq!(rows(&store).await, [""; 0]);
}

/// A whole page, with one message that is as large.
#[tokio::test]
async fn a_page_that_cannot_be_read_hides_and_stops_nothing_else() {
    let messages = (0..7).map(|number| {
        let (id, key) = (format!("message {number}"), format!("key {number}"));
        let mut message = keyed(&id, at(number), &key);
        message.message.body = vec![b'x'; 3000].into();
        message
    });
    let home = closed(messages).await;
    damage(&home, b"message 2", |page, _| page[0] = 0);
    let store = home.open().await;

    let listed = store.list(Filter::default(), None, 10).await.unwrap();
    let unreadable: Vec<i64> =
        listed.iter().filter(|stored| stored.damage.is_some()).map(|stored| stored.id).collect();
    assert_eq!((listed.len(), unreadable.len()), (7, 1));
    assert_eq!(store.count(Filter::default(), at(0)).await.unwrap().total, 7);
    let shown = store.show(unreadable[0]).await.unwrap().unwrap().damage.unwrap_or_default();
    assert!(shown.contains("it cannot be read"), "{shown}");
    let mut lines = Vec::new();
    assert_eq!(delay::export::export(&store, &mut lines).await.unwrap(), (7, 1));

    // It cannot be replaced either, and keeps its key.
    accept(&store, [keyed("replacing", at(7), "key 2")]).await;
    let id = number_of(&store, "replacing").await;
    assert_eq!(store.show(id).await.unwrap().unwrap().delayed.key, None);

    let mut router = Router::start(&store, &Clock::starting_at(at(10)));
    for number in [0, 1, 3, 4, 5, 6] {
        assert_eq!(router.next_arrives().await, format!("message {number}"));
    }
    assert_eq!(router.next_arrives().await, "replacing");
    accept(&store, [delayed("new", at(8))]).await;
    assert_eq!(router.next_arrives().await, "new");
    router.stop().await;
    // Of the others, SQLite cannot remove those beside such a page.
    assert!(!stored(&store).await.contains(&"new".to_owned()));
    let error = store.cancel(unreadable.clone()).await.unwrap_err();
    assert!(format!("{error:#}").contains(&format!("message {}", unreadable[0])), "{error:#}");
}
