//! The router as a service: what it tells whoever has started it, and how it is told.

use tokio::net::UnixDatagram;

use crate::support::rabbitmq::RabbitMq;
use crate::support::router::Router;
use crate::support::scene::{MO, ROUTED, Scene};
use crate::support::traffic::numbered;
use crate::support::within_reason;

/// No broker is needed: the router waits for one.
const UNREACHABLE: &str = "[amqp]\nenabled = true\nurl = 'amqp://127.0.0.1:1'\n";

/// The next message that is not one of many.
async fn told(manager: &UnixDatagram) -> String {
    let mut buffer = [0; 4096];
    loop {
        let read = within_reason("a message to the service manager", manager.recv(&mut buffer));
        let length = read.await.unwrap();
        let message = String::from_utf8(buffer[..length].to_vec()).unwrap();
        if message != "WATCHDOG=1" && !message.starts_with("STATUS=") {
            return message;
        }
    }
}

#[tokio::test]
async fn the_service_manager_is_told_of_start_reload_and_stop() {
    let mut router = Router::new(UNREACHABLE, &[]);
    let manager = UnixDatagram::bind(router.path("notify")).unwrap();
    let socket = format!("NOTIFY_SOCKET={}", router.path("notify").display());
    router.start_with_variables(&[&socket]);
    assert_eq!(told(&manager).await, "READY=1");

    for _ in 0..2 {
        router.signal("HUP");
        let reloading = told(&manager).await;
        let since = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").expect(&reloading);
        assert!(since.parse::<u64>().unwrap() > 0, "{reloading}");
        assert_eq!(told(&manager).await, "READY=1");
    }

    router.signal("TERM");
    assert!(told(&manager).await.starts_with("STOPPING=1"));
    assert!(router.ended().await.success());
}

#[tokio::test]
async fn the_watchdog_hears_from_the_router_until_it_has_stopped() {
    let mut router = Router::new(UNREACHABLE, &[]);
    let manager = UnixDatagram::bind(router.path("notify")).unwrap();
    let socket = format!("NOTIFY_SOCKET={}", router.path("notify").display());
    router.start_with_variables(&[&socket, "WATCHDOG_USEC=200000"]);
    let mut buffer = [0; 4096];
    let mut heard = 0;
    while heard < 5 {
        let length = within_reason("a sign of life", manager.recv(&mut buffer)).await.unwrap();
        heard += usize::from(&buffer[..length] == b"WATCHDOG=1");
    }
    assert!(router.stop().await.success());
}

#[tokio::test]
async fn settings_are_read_again_when_asked_for_and_a_bad_file_changes_nothing() {
    let mut router = Router::new(UNREACHABLE, &[]);
    router.start();
    router.metric_until("settings_last_reload_successful", 1.0).await;
    let good = std::fs::read(router.path("mo-router.toml")).unwrap();
    router.put_file("mo-router.toml", b"limits.attempts = 'many'\n");
    router.signal("HUP");
    let line = router.logged("the old ones stay in effect").await;
    assert!(line.contains("limits.attempts"), "{line}");
    router.metric_until("settings_last_reload_successful", 0.0).await;
    router.put_file("mo-router.toml", &good);
    router.signal("HUP");
    router.metric_until("settings_last_reload_successful", 1.0).await;
    assert!(router.stop().await.success());
}

/// The service manager was told that the router is ready, so it may ask for that.
#[tokio::test]
async fn settings_are_read_again_while_the_delay_store_is_waited_for() {
    let mut router = Router::new(UNREACHABLE, &[]);
    router.set("delay.store", "postgres://postgres@127.0.0.1:1/delays");
    let manager = UnixDatagram::bind(router.path("notify")).unwrap();
    let socket = format!("NOTIFY_SOCKET={}", router.path("notify").display());
    router.start_with_variables(&[&socket]);
    assert_eq!(told(&manager).await, "READY=1");
    router.logged("the delay store is unavailable").await;

    router.put_file("mo-router.toml", b"limits.attempts = 'many'\n");
    router.signal("HUP");
    assert!(told(&manager).await.starts_with("RELOADING=1"));
    assert_eq!(told(&manager).await, "READY=1");
    router.logged("reading the settings again").await;
    router.logged("the old ones stay in effect").await;
    router.metric_until("settings_last_reload_successful", 0.0).await;
    assert!(router.stop().await.success());
}

#[tokio::test]
async fn without_a_settings_file_none_is_read_again_until_one_is_written() {
    let scene = Scene::shared().await;
    let mut router = scene.router("", &[]);
    let variable = |name: &str, value: &str| format!("MO_ROUTER_{name}={value}");
    let path = |name: &str| router.path(name).display().to_string();
    let variables = [
        variable("AMQP_ENABLED", "true"),
        variable("AMQP_URL", &scene.url),
        variable("AMQP_EXCHANGE", MO),
        variable("AMQP_OUTPUT_EXCHANGE", ROUTED),
        variable("PLUGINS_DIR", &path("plugins")),
        variable("PLUGINS_CACHE_DIR", concat!(env!("CARGO_TARGET_TMPDIR"), "/code")),
        variable("DELAY_STORE", &format!("sqlite:{}", path("delays.db"))),
        variable("HTTP_LISTEN", "127.0.0.1:0"),
    ];
    std::fs::remove_file(router.path("mo-router.toml")).unwrap();
    router.start_with_variables(&variables.each_ref().map(String::as_str));
    router.logged("ready").await;
    router.add_plugin("later");
    router.signal("HUP");
    router.logged("there is no settings file to read again").await;
    router.status_until("later", |status| status["state"] == "running").await;
    assert_eq!(router.count_logged("reading the settings again"), 0);
    router.put_file("mo-router.toml", b"[plugin.later]\nlimits.attempts = 2\n");
    router.logged("there is a settings file now").await;
    router.logged("settings changed").await;
    router.signal("HUP");
    router.logged("reading the settings again").await;
    router.metric_until("settings_last_reload_successful", 1.0).await;
    assert!(router.stop().await.success());
}

#[tokio::test]
async fn an_address_that_is_taken_ends_the_run_with_the_setting_to_change() {
    let mut first = Router::new(UNREACHABLE, &[]);
    first.start();
    let address = first.address().await;
    let mut second = Router::new(UNREACHABLE, &[]);
    let settings = std::fs::read_to_string(second.path("mo-router.toml")).unwrap();
    second.put_file("mo-router.toml", settings.replace("127.0.0.1:0", &address).as_bytes());
    second.start();
    let line = second.logged("cannot listen on").await;
    for part in [address.as_str(), "[http] listen", "MO_ROUTER_HTTP_LISTEN"] {
        assert!(line.contains(part), "{line}");
    }
    assert_eq!(second.ended().await.code(), Some(1));
    assert!(first.stop().await.success());
}

#[tokio::test]
async fn status_exits_with_3_when_the_router_is_not_ready() {
    let mut router = Router::new(UNREACHABLE, &[]);
    router.start();
    router.logged("the broker cannot be reached").await;
    let address = router.address().await;
    let output = router.call(&["status", "--address", &address]).await;
    let shown = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(3), "{shown}");
    assert!(shown.contains("not ready: broker-unreachable"), "{shown}");
    assert!(router.stop().await.success());
}

#[tokio::test]
async fn wrong_settings_are_told_apart_from_what_may_work_the_next_time() {
    let mut router = Router::new("limits.attempts = 'many'", &[]);
    router.start();
    router.logged("limits.attempts").await;
    assert_eq!(router.ended().await.code(), Some(2));
}

/// A mounted secret changes while the router runs.
#[tokio::test]
async fn the_file_with_the_brokers_url_is_read_again_for_each_connection() {
    let scene = Scene::shared().await;
    let settings = "[amqp]\nenabled = true\nurl_file = 'broker'\nexchange = 'os2mo'\n";
    let mut router = Router::new(settings, &[]);
    router.start();
    let line = router.logged("the broker cannot be reached").await;
    assert!(line.contains("url_file"), "{line}");
    let wrong = scene.url.replace("guest:guest@", "guest:hunter2@");
    router.put_file("broker", wrong.as_bytes());
    router.logged("ACCESS_REFUSED").await;
    router.put_file("broker", format!("{}\n", scene.url).as_bytes());
    router.logged("ready").await;
    assert!(!router.log().contains("hunter2"), "{}", router.log());
    assert!(router.stop().await.success());
}

/// An OAuth token is a password of some thousand bytes, and another one each hour.
#[tokio::test]
async fn a_password_as_long_as_a_token_is_changed_while_the_router_runs() {
    let mut broker = tokio::task::spawn_blocking(RabbitMq::start).await.unwrap();
    let mut scene = Scene::on(&broker).await;
    let vhost = scene.url.rsplit_once('/').unwrap().1.to_owned();
    let token = |number: u64| format!("eyJ{}.{}.-_{number}", "aGVh".repeat(20), "cGF5".repeat(750));
    broker.control(&["add_user", "oauth", &token(1)]);
    broker.control(&["set_permissions", "-p", &vhost, "oauth", ".*", ".*", ".*"]);
    let lines = "username = 'oauth'\npassword_file = 'password'";
    let mut router = scene.router(lines, &[("forward", "")]);
    router.put_file("password", token(1).as_bytes());
    router.start_ready().await;

    broker.control(&["change_password", "oauth", &token(2)]);
    router.put_file("password", token(2).as_bytes());
    broker.control(&["close_all_connections", "-p", &vhost, "renewed"]);
    router.logged("session lost").await;
    scene.reconnect().await;
    scene.client.publish(MO, numbered(0..10)).await;
    scene.routed(10).await;
    router.metric_until("ready", 1.0).await;
    assert!(!router.log().contains(&token(1)) && !router.log().contains(&token(2)));
    assert!(router.stop().await.success());
}

/// It is used at the next connection, which may be long after somebody changed it.
#[tokio::test]
async fn a_reload_looks_at_the_files_that_the_settings_name() {
    const SUCCESSFUL: &str = "settings_last_reload_successful";
    let scene = Scene::shared().await;
    let mut router = scene.router("password_file = 'password'", &[("forward", "")]);
    router.put_file("password", b"guest");
    router.start_ready().await;
    assert_eq!(router.metric(SUCCESSFUL).await, Some(1.0));
    std::fs::remove_file(router.path("password")).unwrap();
    router.signal("HUP");
    let line = router.logged("cannot be used at the next connection").await;
    assert!(line.contains("[amqp] password_file"), "{line}");
    router.metric_until(SUCCESSFUL, 0.0).await;
    router.put_file("password", b"guest");
    router.signal("HUP");
    router.metric_until(SUCCESSFUL, 1.0).await;
    assert!(router.stop().await.success());
}

/// Much is printed, and nobody reads it.
#[tokio::test]
async fn a_command_whose_reader_has_gone_ends_quietly() {
    let router = Router::new("", &[]);
    for command in [&["completions", "bash"][..], &["man"], &["--help"], &["plugin", "--help"]] {
        let line = format!(
            "{} {} | true; echo ${{PIPESTATUS[0]}}",
            crate::support::router::ROUTER,
            command.join(" ")
        );
        let output = tokio::process::Command::new("bash")
            .args(["-c", &line])
            .current_dir(router.path("."))
            .output();
        let output = within_reason("the command to end", output).await.unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(error, "", "{command:?}");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "0\n", "{command:?}");
    }
}
