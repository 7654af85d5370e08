//! The commands, on a broker.

use std::io::Write;
use std::process::Stdio;
use std::time::Duration;

use mo_router::event::Datetime;
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::support::ports::free_port;
use crate::support::router::Router;
use crate::support::scene::{DEAD, MO, ROUTED, Scene};
use crate::support::traffic::{numbered, numbers};
use crate::support::within_reason;

const UUID: &str = "0174ad1c-7b4c-4b5a-9b1e-2f1a6a1b0c0d";

#[tokio::test]
async fn dead_letters_are_listed_shown_sent_back_and_discarded() {
    let scene = Scene::shared().await;
    let mut router = scene
        .run("", &[("strict", "config = { answer = 'reject', only = '\"number\":1,' }")])
        .await;
    scene.client.publish(MO, numbered([0, 1])).await;
    scene.routed(1).await;
    let list = || async { router.json(&["dead", "list"]).await };
    let letters = crate::support::ask_until("the dead letter", || async {
        let letters = list().await;
        (!letters.as_array().unwrap().is_empty()).then_some(letters)
    })
    .await;
    assert_eq!(letters.as_array().unwrap().len(), 1);
    let address = router.address().await;
    let status = crate::support::ask_until("the letter in the status", || async {
        let status = router.json(&["status", "--address", &address]).await;
        (status["dead_letters"] == 1).then_some(status)
    });
    status.await;
    router.metric_until("dead_letter_queue_messages", 1.0).await;
    let letter = &letters[0];
    assert_eq!(
        (&letter["reason"], &letter["plugin"], &letter["exchange"], &letter["attempts"]),
        (&"told to reject".into(), &"strict".into(), &MO.into(), &1.into())
    );
    let id = letter["id"].as_str().unwrap().to_owned();
    assert!(router.print(&["dead", "list"]).await.contains(&id));
    let shown = router.json(&["dead", "show", &id]).await;
    assert!(shown["body"].as_str().unwrap().contains("\"number\":1"), "{shown}");
    let event = router.print(&["dead", "show", &id, "--event"]).await;
    router.put_file("event.jsonl", event.as_bytes());
    let replayed: serde_json::Value =
        serde_json::from_str(&router.print(&["replay", "event.jsonl"]).await).expect(&event);
    assert_eq!(replayed["at"], shown["since"]);
    assert_eq!(replayed["dead"]["reason"], "told to reject");
    assert_eq!(replayed["dead"]["body"]["number"], 1);

    // Looking leaves it where it is, and sending it back without a mend brings it back.
    router.print(&["dead", "requeue", &id]).await;
    let dead = scene.dead(1).await;
    assert_eq!((dead[0].number(), &*dead[0].headers["mo-router-exchange"]), (1, MO));
    assert_eq!(dead[0].headers["mo-router-routing-key"], "employee.engagement.edit");
    router.stop().await;

    scene.client.publish(MO, numbered([1])).await;
    router.start_ready().await;
    scene.client.has(DEAD, 1).await;
    router.print(&["dead", "discard", "--all", "--yes"]).await;
    assert_eq!(scene.client.depth(DEAD).await, 0);
    assert!(!router.call(&["dead", "show", "0000"]).await.status.success());
}

#[tokio::test]
async fn what_is_dead_again_at_once_is_sent_back_once() {
    const LETTERS: u64 = 200;
    let scene = Scene::shared().await;
    let router = scene.run("", &[("strict", "config.answer = 'reject'")]).await;
    scene.client.publish(MO, numbered(0..LETTERS)).await;
    crate::support::ask_until("the dead letters", || async {
        (u64::from(scene.client.depth(DEAD).await) == LETTERS).then_some(())
    })
    .await;
    let done = router.print(&["dead", "requeue", "--all"]).await;
    assert_eq!(done, format!("{LETTERS} sent back\n"));
}

#[tokio::test]
async fn what_is_sent_back_after_a_mend_is_delivered() {
    let scene = Scene::shared().await;
    let reject = "config.answer = 'reject'";
    let mut router = scene.run("", &[("mended", reject)]).await;
    scene.client.publish(MO, numbered(0..20)).await;
    scene.client.has(DEAD, 20).await;
    router.stop().await;
    let file = router.path("mo-router.toml");
    let settings = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, settings.replace(reject, "")).unwrap();
    router.start_ready().await;
    router.print(&["dead", "requeue", "--plugin", "mended"]).await;
    let routed = scene.routed(20).await;
    assert_eq!(numbers(&routed).len(), 20);
    assert_eq!(routed[0].routing_key, "employee.engagement.edit");
    assert_eq!(scene.client.depth(DEAD).await, 0);
}

#[tokio::test]
async fn publish_sends_an_event_as_mo_does() {
    let scene = Scene::shared().await;
    let router = scene.run("", &[("forward", "")]).await;
    let time = "2030-01-01T00:00:00+01:00";
    router
        .print(&[
            "publish",
            "employee.it.create",
            "--uuid",
            UUID,
            "--object-uuid",
            UUID,
            "--time",
            time,
        ])
        .await;
    let done = router.json(&["publish", "engagement", "--uuid", UUID]).await;
    assert_eq!((&done["published"], &done["to_no_queue"]), (&1.into(), &0.into()));
    let routed = scene.routed(2).await;
    let body = routed[0].json();
    assert_eq!((&body["uuid"], &body["object_uuid"]), (&UUID.into(), &UUID.into()));
    assert!(body["time"].as_str().unwrap().starts_with("20"), "{body}");
    assert_eq!((&*routed[1].routing_key, routed[1].json()), ("engagement", UUID.into()));

    let in_two_hours = Datetime::now().saturating_add(Duration::from_secs(2 * 60 * 60));
    router.print(&["publish", "employee.it.edit", "--uuid", UUID, "--time", "+2h"]).await;
    let body = scene.routed(1).await[0].json();
    let time: Datetime = body["time"].as_str().unwrap().parse().unwrap();
    assert!(time >= in_two_hours, "{body}");
}

#[tokio::test]
async fn publish_tells_of_what_no_queue_took_whatever_becomes_of_publications() {
    let scene = Scene::shared().await;
    for lines in ["", "unroutable = 'ignore'"] {
        let router = scene.router(lines, &[]);
        let done = router.json(&["publish", "engagement", "--uuid", UUID]).await;
        assert_eq!(done["to_no_queue"], 1, "{lines}");
    }
}

#[tokio::test]
async fn publish_says_how_many_the_broker_refused_and_which_was_the_first() {
    let scene = Scene::shared().await;
    scene.client.exchange("narrow", true).await;
    scene.client.catch_one("narrow").await;
    let router = scene.router("", &[]);
    let line = format!("\n{{\"routing_key\":\"engagement\",\"body\":{UUID:?}}}\n");
    router.put_file("events", line.repeat(4).as_bytes());
    let fails = async |arguments: &[&str]| {
        let mut command = router.command(arguments);
        command.env("AMQP_OS2MO_EXCHANGE", "narrow").env("AMQP_URL", &scene.url);
        let output = within_reason("the command", command.output()).await.unwrap();
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let error = fails(&["publish", "--file", "events"]).await;
    assert!(error.contains("3 of 4 were not published, the first of them line 4 of events: "));
    let error = fails(&["publish", "engagement", "--uuid", UUID]).await;
    assert!(error.contains("it was not published: "), "{error}");
    let error = fails(&["publish", "engagement", "--uuid", UUID, "--time", "+1s"]).await;
    assert!(error.contains("leave out --time"), "{error}");
}

#[tokio::test]
async fn the_manual_has_every_command_and_names_no_other_page() {
    let page = Router::new("", &[]).print(&["man"]).await.replace('\\', "");
    for command in ["mo-router run", "mo-router dead requeue", "mo-router plugin new"] {
        assert!(page.contains(&format!("\n{command} - ")), "{command} is not in the manual");
    }
    let others = page.lines().filter(|line| line.contains("(1)") && !line.starts_with(".TH"));
    assert_eq!(others.collect::<Vec<_>>(), Vec::<&str>::new());
}

#[tokio::test]
async fn tail_prints_what_passes() {
    let scene = Scene::shared().await;
    let router = scene.router("", &[]);
    let mut tail = router
        .command(&["tail", "--exchange", ROUTED, "--topic", "employee.#", "--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = BufReader::new(tail.stderr.take().unwrap()).lines();
    let listening = within_reason("tail to listen", log.next_line()).await.unwrap().unwrap();
    assert!(listening.contains("listening to exchange"), "{listening}");
    scene.client.publish(ROUTED, numbered([3])).await;
    let mut lines = BufReader::new(tail.stdout.take().unwrap()).lines();
    let line = within_reason("a line of tail", lines.next_line()).await.unwrap().unwrap();
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(line["routing_key"], "employee.engagement.edit");
    assert_eq!(line["body"]["number"], 3);
}

#[tokio::test]
async fn tail_and_publish_make_no_exchange() {
    let scene = Scene::shared().await;
    let router = scene.router("", &[]);
    for (exchange, arguments) in [
        ("os2mo_dealyed", &["tail", "--exchange", "os2mo_dealyed"][..]),
        ("elsewhere", &["publish", "engagement", "--uuid", UUID]),
    ] {
        let mut command = router.command(arguments);
        command.env("AMQP_OS2MO_EXCHANGE", "elsewhere").env("AMQP_URL", &scene.url);
        let output = within_reason("the command", command.output()).await.unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{error}");
        assert!(error.contains(&format!("{exchange:?} does not exist")), "{error}");
        assert!(!scene.client.has_exchange(exchange).await);
    }
}

#[tokio::test]
async fn options_may_stand_in_the_environment() {
    use std::os::unix::ffi::OsStrExt;
    let router = Router::new("", &[]);
    let call = async |name: &[u8], value: &[u8]| {
        let mut command = router.command(&["check"]);
        command.env(std::ffi::OsStr::from_bytes(name), std::ffi::OsStr::from_bytes(value));
        within_reason("the command", command.output()).await.unwrap()
    };
    let output = call(b"MO_ROUTER_CONFIG", b"missing.toml").await;
    assert!(String::from_utf8_lossy(&output.stderr).contains("missing.toml"));
    assert!(!call(b"MO_ROUTER_LOG_FORMAT", b"nonsense").await.status.success());
    assert!(call(b"MO_ROUTER_LOG_FORMAT", b"json").await.status.success());
    assert!(call(b"LATIN1_\xe5", b"\xe5").await.status.success());
}

#[tokio::test]
async fn check_names_what_is_wrong() {
    let router = Router::new("", &[("good", "")]);
    assert!(router.call(&["check"]).await.status.success());
    std::fs::write(router.path("plugins").join("bad.wasm"), "no plugin").unwrap();
    let output = router.call(&["check"]).await;
    let text = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(text.contains("bad.wasm") && text.contains("good"), "{text}");
    std::fs::create_dir(router.plugin("folder")).unwrap();
    for command in [&["check"][..], &["replay", "/dev/null"]] {
        let output = router.call(command).await;
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text);
        assert!(!output.status.success() && text.contains("folder.wasm"), "{text}");
    }

    std::fs::write(router.path("mo-router.toml"), "[amqp]\nprefech = 1").unwrap();
    let output = router.call(&["check"]).await;
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(
        !output.status.success()
            && error.contains("mo-router.toml:2")
            && error.contains("prefetch"),
        "{error}"
    );
}

#[tokio::test]
async fn check_finds_what_a_run_would_stumble_over() {
    let router = Router::new("", &[]);
    router.add_plugin("mo-delay");
    let own = std::fs::read_to_string(router.path("mo-router.toml")).unwrap();
    let store = format!("sqlite:{}", router.path("delays.db").display());
    let folder = router.path("plugins").display().to_string();
    let token = router.path("token").display().to_string();
    let short = router.path("short").display().to_string();
    router.put_file("short", b"short");
    let newer = router.path("newer.db");
    let newest = rusqlite::Connection::open(&newer).unwrap();
    newest.pragma_update(None, "user_version", 1000).unwrap();
    for (settings, said) in [
        (own.replace(&token, "/nowhere/token"), "[http] token_file \"/nowhere/token\""),
        (own.replace(&token, &short), "has fewer than 16 characters"),
        (format!("{own}[plugin.mo-dealy]\nlanes = 2\n"), "did you mean \"mo-delay\"?"),
        (
            format!("{own}[plugin.mo-delay]\nsubscriptions = ['a..b']\n"),
            "\"a..b\" has an empty word",
        ),
        (format!("{own}[amqp]\nkey_file = '/k'\n"), "without cert_file"),
        (own.replace("keep_bindings = '1s'", "keep_bindings = '9days'"), "keep_queue is shorter"),
        (own.replace(&store, "sqlite:/nowhere/delays.db"), "there is no folder /nowhere"),
        (own.replace(&store, &format!("sqlite:{}", newer.display())), "by a newer mo-router"),
        (own.replace(&store, &format!("sqlite:{token}")), "not a database of SQLite's"),
        (own.replace(&folder, "/nowhere"), "/nowhere"),
        (
            format!("{own}[amqp]\nenabled = true\nurl_file = '/nowhere/u'\n"),
            "[amqp] url_file \"/nowhere/u\"",
        ),
        (format!("{own}[amqp]\nenabled = true\nurl_file = '{short}'\n"), "[amqp] url_file"),
        (
            format!("{own}[amqp]\nenabled = true\npassword_file = '/nowhere/p'\n"),
            "[amqp] password_file \"/nowhere/p\"",
        ),
        (
            format!("{own}[amqp]\nenabled = true\nurl = 'amqps://b/?cacertfile=/nowhere/ca'\n"),
            "[amqp] url: cacertfile \"/nowhere/ca\"",
        ),
        (
            own.replace(
                &format!("delay.store = {store:?}"),
                "delay = { store = 'postgres://h/d', password_file = '/nowhere/d' }",
            ),
            "[delay] password_file \"/nowhere/d\"",
        ),
        (
            format!(
                "{own}[mo]\nenabled = true\nclient_id = 'x'\nclient_secret_file = '/nowhere/s'\n"
            ),
            "[mo] client_secret_file \"/nowhere/s\"",
        ),
    ] {
        router.put_file("mo-router.toml", settings.as_bytes());
        let output = router.call(&["check"]).await;
        let text = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(1), "{settings}: {text}");
        let mut wrong = text.lines().filter(|line| line.starts_with("wrong  "));
        assert!(wrong.any(|line| line.contains(said)), "{said:?} is not in {text}");
    }

    // What may be meant is only told, and so is a credential of systemd's that is not there yet.
    let credential = own.replace(&token, "/run/credentials/none.service/token");
    let settings = format!(
        "{credential}[amqp]\nenabled = true\npassword_file = '/run/credentials/none.service/password'\n[plugin.mo-delay]\nsubscriptions = ['employee.#']\n[plugin.later]\nlanes = 2\n"
    );
    router.put_file("mo-router.toml", settings.as_bytes());
    // So is a store that another router uses, as before an upgrade.
    router.put_file("delays.db", b"");
    let used = std::fs::File::open(router.path("delays.db")).unwrap();
    used.lock().unwrap();
    let text = router.print(&["check"]).await;
    for said in [
        "take the place of the plugin's own",
        "[plugin.later]: no file",
        "none.service/token\": No such file or directory (os error 2); systemd puts it there when the service starts",
        "none.service/password\": No such file or directory (os error 2); systemd puts it there when the service starts",
        "is in use by another mo-router",
        "others than its user have rights to",
    ] {
        assert!(text.lines().any(|line| line.starts_with("warn") && line.contains(said)), "{text}");
    }
}

/// What they change is in the store's file itself afterwards.
#[tokio::test]
async fn commands_on_delayed_messages_leave_one_whole_file() {
    let router = Router::new("", &[]);
    let line = serde_json::json!({
        "id": 1, "due": "", "due_micros": 0, "plugin": "p", "version": "1", "key": null, "uuid": "",
        "exchange": "out", "routing_key": "employee.it.create", "properties": {}, "body": "",
        "damage": null, "unreadable": null,
    });
    router.put_file("lines.jsonl", line.to_string().as_bytes());
    for command in [
        &["delayed", "import", "--file", "lines.jsonl"][..],
        &["delayed", "reschedule", "1", "2999-01-01T00:00:00Z"],
        &["delayed", "backup", "backup.db"],
        &["delayed", "export", "export.jsonl"],
        &["delayed", "list"],
        // Which fails.
        &["delayed", "cancel", "2"],
    ] {
        router.call(command).await;
        for name in ["delays.db-wal", "delays.db-shm"] {
            assert!(!router.path(name).exists(), "{command:?} leaves {name}");
        }
    }
    let shown = router.json(&["delayed", "show", "1"]).await;
    assert_eq!(shown["due"], "2999-01-01T00:00:00Z");
}

#[tokio::test]
async fn check_says_who_has_the_http_address() {
    let mut router = Router::new("", &[]);
    let address = format!("127.0.0.1:{}", free_port());
    let settings = std::fs::read_to_string(router.path("mo-router.toml")).unwrap();
    let settings = settings.replace("127.0.0.1:0", &address);
    router.put_file("mo-router.toml", settings.as_bytes());
    let text = router.print(&["check", "--connect"]).await;
    assert!(text.contains(&format!("ok     {address} is free for [http] listen")), "{text}");

    router.start();
    router.address().await;
    let output = router.call(&["check", "--connect"]).await;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains(&format!("ok     a router answers at {address}")), "{text}");
    assert!(router.stop().await.success());

    // Somebody else, who says nothing, or something else.
    let taken = format!("wrong  http: cannot listen on {address}: set [http] listen");
    let other = std::net::TcpListener::bind(address).unwrap();
    for says in [None, Some("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nno")] {
        let other = other.try_clone().unwrap();
        let answering = says.map(|says| {
            std::thread::spawn(move || {
                // The one before was not answered, and nobody waits for it any more.
                for connection in other.incoming().take(2) {
                    let _ = connection.unwrap().write_all(says.as_bytes());
                }
            })
        });
        let output = router.call(&["check", "--connect"]).await;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.contains(&taken), "{text}");
        if let Some(answering) = answering {
            answering.join().unwrap();
        }
    }
}

#[tokio::test]
async fn a_folder_that_somebody_has_named_is_not_made() {
    let mut router = Router::new("", &[]);
    let settings = std::fs::read_to_string(router.path("mo-router.toml")).unwrap();
    let folder = router.path("plugins").display().to_string();
    let mistyped = settings.replace(&folder, &router.path("plugin").display().to_string());
    router.put_file("mo-router.toml", mistyped.as_bytes());
    router.start();
    let line = router.logged("does not exist").await;
    assert!(line.contains("[plugins] dir"), "{line}");
    assert_eq!(router.ended().await.code(), Some(1));
    assert!(!router.path("plugin").exists());
}

/// A password on the command line is seen by everybody on the machine.
#[tokio::test]
async fn the_url_of_the_agents_database_can_be_kept_off_the_command_line() {
    let router = Router::new("", &[]);
    let url = "postgres://mo:hunter2@127.0.0.1:1/delays";
    router.put_file("url", format!("{url}\n").as_bytes());
    let mut by_variable = router.command(&["delayed", "import"]);
    by_variable.env("MO_ROUTER_IMPORT_FROM", url);
    let by_file = router.command(&["delayed", "import", "--from-file", "url"]);
    // It needs a store, which this makes.
    router.print(&["delayed", "import", "--file", "/dev/null"]).await;
    let export = ["delayed", "export", "--agent-file", "url", "--from", "+1h", "--dry-run"];
    for mut command in [by_variable, by_file, router.command(&export)] {
        let output = command.output().await.unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(error.contains("cannot reach mo-delay-agent's database"), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
    let mut help = router.command(&["delayed", "import", "--help"]);
    let help = help.env("MO_ROUTER_IMPORT_FROM", url).output().await.unwrap();
    assert!(!String::from_utf8_lossy(&help.stdout).contains("hunter2"));
}

#[tokio::test]
async fn a_closed_pipe_ends_commands_quietly() {
    let router = Router::new("", &[("good", "")]);
    let plugin = router.plugin("good").display().to_string();
    // It is compiled by then: that it is being compiled is logged where that takes long.
    router.print(&["check"]).await;
    for arguments in [
        &["completions", "bash"][..],
        &["man"],
        &["check"],
        &["check", "--json"],
        &["plugin", "check", &plugin],
        &["plugin", "check", &plugin, "--json"],
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = router.command(arguments);
        let output = command.stdout(writer).stderr(Stdio::piped()).output();
        let output = within_reason("the command", output).await.unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && error.is_empty(), "{arguments:?}: {error}");
    }
}
