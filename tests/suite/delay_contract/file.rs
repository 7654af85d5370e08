//! What can become of a local store's file.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::PathBuf;
use std::sync::Arc;

use mo_router::clock::Clock;
use mo_router::delay::{self, Import, Store, Unusable};
use mo_router::event::{Outgoing, Value};
use mo_router::health::{Code, Health};
use mo_router::settings::StoreUrl;
use mo_router::transport::Fate;

use super::{Home, accept, at, delayed, done, keyed, number_of, stored, within};
use crate::support::ask_until;

pub fn file(home: &Home) -> PathBuf {
    let StoreUrl::Sqlite(file) = &home.settings else { unreachable!() };
    file.clone()
}

fn beside(home: &Home, suffix: &str) -> PathBuf {
    let mut name = file(home).into_os_string();
    name.push(suffix);
    name.into()
}

#[tokio::test]
async fn nothing_is_accepted_into_a_file_that_is_gone() {
    let home = Home::sqlite();
    let health = Health::default();
    let store = Store::wait_for(&home.settings, &health).await.unwrap();
    accept(&store, [delayed("a", at(1))]).await;
    let aside = file(&home).with_file_name("aside.db");
    fs::rename(file(&home), &aside).unwrap();
    let error = store.accept(Arc::new(vec![delayed("b", at(2))])).await.unwrap_err();
    assert!(format!("{error:#}").contains("was deleted"), "{error:#}");
    // Also seen while nothing is stored.
    let watching = tokio::spawn(delay::watch(store.clone(), Clock::system()));
    let unavailable = |wanted| {
        let health = health.clone();
        ask_until("the file to be noticed", move || {
            let now = health.has(Code::StoreUnavailable);
            async move { (now == wanted).then_some(()) }
        })
    };
    unavailable(true).await;
    assert!(!file(&home).exists(), "no new file is made in its place");
    fs::write(file(&home), b"another").unwrap();
    let error = store.accept(Arc::new(vec![delayed("b", at(2))])).await.unwrap_err();
    assert!(format!("{error:#}").contains("was replaced"), "{error:#}");
    fs::rename(aside, file(&home)).unwrap();
    unavailable(false).await;
    watching.abort();
    accept(&store, [delayed("c", at(3))]).await;
    assert_eq!(stored(&store).await, ["a", "c"]);
}

#[tokio::test]
async fn the_file_itself_is_locked() {
    let home = Home::sqlite();
    let owner = Store::wait_for(&home.settings, &Health::default()).await.unwrap();
    fs::remove_file(beside(&home, "-changed")).unwrap();
    let other = home.open().await;
    let error = super::Router::start(&other, &Clock::starting_at(at(0))).task.await.unwrap();
    assert!(error.unwrap_err().to_string().contains("in use by another mo-router"));
    owner.close().await;
    drop(owner);
    super::Router::start(&other, &Clock::starting_at(at(0))).stop().await;
}

#[tokio::test]
async fn a_closed_file_holds_everything_by_itself() {
    let home = Home::sqlite();
    let store = home.open().await;
    accept(&store, [delayed("a", at(1))]).await;
    store.close().await;
    assert!(!beside(&home, "-wal").exists());
    let copy = Home::sqlite();
    fs::copy(file(&home), file(&copy)).unwrap();
    assert_eq!(stored(&copy.open().await).await, ["a"]);
}

#[tokio::test]
async fn a_backup_is_restored() {
    let home = Home::sqlite();
    let store = home.open().await;
    accept(&store, [delayed("a", at(1))]).await;
    let restored = Home::sqlite();
    store.back_up(&file(&restored)).await.unwrap();
    assert_eq!(fs::metadata(file(&restored)).unwrap().mode() & 0o777, 0o600);
    store.back_up(&file(&restored)).await.expect_err("a file is not overwritten");
    accept(&store, [delayed("b", at(2))]).await;
    assert_eq!(stored(&restored.open().await).await, ["a"]);

    // Put in place while the log of what was there before is still beside it.
    let backup = file(&home).with_file_name("backup.db");
    store.back_up(&backup).await.unwrap();
    let log = fs::read(beside(&home, "-wal")).unwrap();
    assert!(!log.is_empty());
    store.close().await;
    let copy = file(&home).with_file_name("copy.db");
    fs::copy(file(&home), &copy).unwrap();
    for restored in [backup, copy] {
        fs::rename(&restored, file(&home)).unwrap();
        fs::write(beside(&home, "-wal"), &log).unwrap();
        let health = Health::default();
        let error = within(Store::wait_for(&home.settings, &health)).await.unwrap_err();
        assert!(error.is::<Unusable>() && format!("{error:#}").contains("-wal"), "{error:#}");
        fs::remove_file(beside(&home, "-wal")).unwrap();
        let store = home.open().await;
        assert_eq!(stored(&store).await, ["a", "b"], "{restored:?}");
        store.close().await;
    }
}

/// By a router that was killed; or the store is a backup of a running one.
#[tokio::test]
async fn what_another_router_had_in_flight_can_be_cancelled() {
    let home = Home::sqlite();
    let store = home.open().await;
    accept(&store, [delayed("a", at(1))]).await;
    let number = number_of(&store, "a").await;
    store.close().await;
    home.sql("INSERT INTO in_flight SELECT id FROM MESSAGES").await;
    let store = Store::wait_for(&home.settings, &Health::default()).await.unwrap();
    let people = home.open().await;
    assert_eq!(people.cancel(vec![number]).await.unwrap(), done(&[number]));
    drop(store);
}

#[tokio::test]
async fn others_lose_their_rights_to_a_file_that_was_there_before() {
    let home = Home::sqlite();
    home.open().await.close().await;
    fs::set_permissions(file(&home), PermissionsExt::from_mode(0o644)).unwrap();
    let store = Store::wait_for(&home.settings, &Health::default()).await.unwrap();
    accept(&store, [delayed("a", at(1))]).await;
    for suffix in ["", "-wal", "-shm"] {
        let mode = fs::metadata(beside(&home, suffix)).unwrap().mode();
        assert_eq!(mode & 0o777, 0o600, "{suffix}");
    }
}

/// Its rows as that version wrote them: see `tests/data/delays-version-1.sql`.
#[tokio::test]
async fn a_file_of_the_first_version_is_brought_up_to_date_and_released() {
    let home = Home::sqlite();
    let old = rusqlite::Connection::open(file(&home)).unwrap();
    old.execute_batch(include_str!("../../data/delays-version-1.sql")).unwrap();
    drop(old);
    let mut rich = keyed("rich", at(2), "key of ✓");
    let properties = &mut rich.message.properties;
    properties.content_type = Some("application/json".into());
    properties.priority = Some(3);
    properties.timestamp = Some(1_700_000_000);
    properties.headers = BTreeMap::from([
        ("bytes".into(), Value::Bytes(vec![255, 0])),
        ("decimal".into(), Value::Decimal { scale: 2, value: 314 }),
        ("list".into(), Value::List(vec![Value::Int8(-1), Value::Null])),
        ("mo-router-due".into(), Value::Text("2023-11-14T22:13:22Z".into())),
        ("number".into(), Value::Int(42)),
        ("table".into(), Value::Table(BTreeMap::from([("yes".into(), Value::Bool(true))]))),
    ]);
    rich.message.body = vec![0, 159, 146, 150].into();
    let expected = [delayed("plain", at(1)), rich, delayed("put off", at(3))];

    let store = Store::wait_for(&home.settings, &Health::default()).await.unwrap();
    let page = store.page(0, 10).await.unwrap();
    let messages: Vec<_> = page.iter().map(|stored| stored.delayed.clone()).collect();
    assert_eq!(messages, expected);
    assert_eq!((page[2].attempts, page[2].problem.as_deref()), (2, Some("the queue is full")));
    let import = |id: &str| Import { id: id.into(), delayed: delayed(id, at(1)) };
    let imports = Arc::new(vec![import("agent:17"), import("agent:18")]);
    assert_eq!(store.count_imported(imports).await.unwrap(), 1);
    // An id is not used twice: the newest message of the old version has left.
    accept(&store, [delayed("new", at(4))]).await;
    assert_eq!(number_of(&store, "new").await, 13);

    let mut router = super::Router::start(&store, &Clock::starting_at(at(10)));
    for message in expected.into_iter().chain([delayed("new", at(4))]) {
        let (token, outgoing) = router.next().await;
        let Outgoing::Message(sent) = &outgoing else { panic!("{outgoing:?}") };
        assert_eq!(*sent, message.message);
        router.confirm(token, outgoing, Fate::Confirmed);
    }
    router.stop().await;
    assert_eq!(stored(&store).await, [""; 0]);
}

#[tokio::test]
async fn a_file_that_is_empty_again_is_made_smaller() {
    let home = Home::sqlite();
    let health = Health::default();
    let store = Store::wait_for(&home.settings, &health).await.unwrap();
    for number in 0..8 {
        let mut large = delayed(&number.to_string(), at(number));
        large.message.body = vec![b'x'; 8 << 20].into();
        accept(&store, [large]).await;
    }
    home.sql("DELETE FROM MESSAGES").await;
    let pages = || {
        let connection = rusqlite::Connection::open(file(&home)).unwrap();
        connection.query_row("PRAGMA page_count", [], |row| row.get::<_, i64>(0)).unwrap()
    };
    let before = pages();
    let watching = tokio::spawn(delay::watch(store.clone(), Clock::system()));
    ask_until("the file to shrink", || async { (pages() < before - 1000).then_some(()) }).await;
    watching.abort();
}

#[tokio::test]
async fn files_that_root_makes_belong_to_the_folders_owner() {
    let home = Home::sqlite();
    let folder = file(&home).parent().unwrap().to_owned();
    if fs::metadata(&folder).unwrap().uid() != 0 {
        println!("only root can give files away");
        return;
    }
    chown(&folder, Some(1234), Some(1234)).unwrap();
    let store = home.open().await;
    accept(&store, [delayed("a", at(1))]).await;
    store.cancel(vec![1]).await.unwrap();
    for suffix in ["", "-wal", "-changed"] {
        let made = fs::metadata(beside(&home, suffix)).unwrap();
        assert_eq!((made.uid(), made.mode() & 0o777), (1234, 0o600), "{suffix}");
    }
}
