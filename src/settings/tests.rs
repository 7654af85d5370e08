//! Settings from files and variables, right and wrong.

mod lists;
mod passwords;
mod postgres;
mod telemetry;

use std::path::PathBuf;
use std::time::Duration;

use chrono_tz::Tz;

use super::*;

pub(super) fn load(file: &str, variables: &[(&str, &str)]) -> anyhow::Result<Settings> {
    let variables =
        variables.iter().map(|(name, text)| (name.to_string(), text.to_string())).collect();
    Settings::from_sources(file::read("mo-router.toml", file)?, variables)
}

fn error(file: &str, variables: &[(&str, &str)]) -> String {
    format!("{:#}", load(file, variables).unwrap_err())
}

#[test]
fn nothing_written_is_the_defaults() {
    assert_eq!(load("", &[("PATH", "/bin")]).unwrap(), Settings::default());
    assert_eq!(Settings::default().http.listen.to_string(), "127.0.0.1:9095");
}

#[test]
fn every_kind_of_value_is_read() {
    let settings = load(
        r#"
        [amqp]
        enabled = true
        url = "amqps://mo:secret@broker/mo"
        queue_type = "classic"
        prefetch = 5_000
        declare = "passive"
        unroutable = "ignore"
        [plugins]
        dir = "/srv/plugins"
        cache_dir = "/var/cache/mo-router"
        [limits]
        timeout = "250ms"
        memory = "64 MiB"
        max_output = 1000
        [delay]
        store = "postgres://mo:secret@db/delays"
        [http]
        listen = "[::]:80"
        [events]
        naive_time_zone = "UTC"
        "#,
        &[],
    )
    .unwrap();
    assert!(settings.amqp.enabled);
    assert_eq!(settings.amqp.url.expose(), "amqps://mo:secret@broker/mo");
    assert_eq!(settings.amqp.queue_type, QueueType::Classic);
    assert_eq!(settings.amqp.prefetch, 5000);
    assert_eq!(settings.amqp.declare, Declare::Passive);
    assert_eq!(settings.amqp.unroutable, Unroutable::Ignore);
    assert_eq!(settings.plugins.dir, PathBuf::from("/srv/plugins"));
    assert_eq!(settings.plugins.cache_dir, Some("/var/cache/mo-router".into()));
    assert_eq!(settings.limits.timeout, Duration::from_millis(250));
    assert_eq!(settings.limits.memory, 64 << 20);
    assert_eq!(settings.limits.max_output, 1000);
    assert!(
        matches!(settings.delay.store, StoreUrl::Postgres(ref url) if url.expose() == "postgres://mo:secret@db/delays")
    );
    assert_eq!(settings.http.listen.port(), 80);
    assert_eq!(settings.events.naive_time_zone, Tz::UTC);
}

#[test]
fn the_store_can_be_a_file() {
    let settings = load("delay.store = 'sqlite:/var/lib/mo.db'", &[]).unwrap();
    assert_eq!(settings.delay.store, StoreUrl::Sqlite("/var/lib/mo.db".into()));
    for wrong in ["sqlite:", "mysql://x:hunter2@y/z", "mo.db"] {
        let error = error(&format!("delay.store = '{wrong}'"), &[]);
        assert!(error.contains("delay.store") && error.contains("sqlite:FILE"), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
}

#[test]
fn variables_win_over_the_file_and_ours_over_mos() {
    let file = "[amqp]\nexchange = 'file'\nprefetch = 1\n[limits]\nattempts = 2";
    let mo = ("AMQP_OS2MO_EXCHANGE", "mo");
    let ours = ("MO_ROUTER_AMQP_EXCHANGE", "ours");
    assert_eq!(load(file, &[]).unwrap().amqp.exchange, "file");
    assert_eq!(load(file, &[mo]).unwrap().amqp.exchange, "mo");
    for variables in [[mo, ours], [ours, mo]] {
        assert_eq!(load(file, &variables).unwrap().amqp.exchange, "ours");
    }
    let settings =
        load(file, &[("MO_ROUTER_LIMITS_TIMEOUT", "3s"), ("MO_ROUTER_AMQP_PREFETCH", "7")])
            .unwrap();
    assert_eq!((settings.limits.timeout, settings.limits.attempts), (Duration::from_secs(3), 2));
    assert_eq!(settings.amqp.prefetch, 7);
}

#[test]
fn every_key_has_a_variable() {
    for (section, key) in key::general_keys() {
        let default = Settings::default()
            .sections()
            .into_iter()
            .find(|(name, _)| *name == section)
            .unwrap()
            .1
            .default_text(key);
        load("", &[(&environment::variable(section, key), &default)]).unwrap();
        let wrong = environment::variable(section, &format!("{key}x"));
        let error = error("", &[(&wrong, "1")]);
        assert!(error.contains(&wrong) && error.contains("did you mean MO_ROUTER_"), "{error}");
    }
}

#[test]
fn mos_own_variables() {
    let url = |variables: &[(&str, &str)]| load("", variables).unwrap().amqp.url.to_string();
    assert!(load("", &[("ENABLE_AMQP", "True")]).unwrap().amqp.enabled);
    assert!(!load("amqp.enabled = true", &[("ENABLE_AMQP", "0")]).unwrap().amqp.enabled);
    assert!(load("amqp.enabled = true", &[("ENABLE_AMQP", "")]).unwrap().amqp.enabled);
    assert_eq!(url(&[("AMQP_HOST", "broker")]), "amqp://guest:***@broker:5672/%2f");
    assert_eq!(url(&[("AMQP_HOST", "::1"), ("AMQP_PORT", "99")]), "amqp://guest:***@[::1]:99/%2f");
    assert_eq!(
        url(&[("AMQP_HOST", "broker"), ("AMQP_URL", "amqp://mo@other/x")]),
        "amqp://mo@other/x"
    );
    assert_eq!(
        url(&[("AMQP_HOST", "broker"), ("MO_ROUTER_AMQP_URL", "amqp://mo@ours/x")]),
        "amqp://mo@ours/x"
    );
    assert!(error("", &[("AMQP_PORT", "http")]).contains("AMQP_PORT: \"http\""));
    assert!(
        error("", &[("ENABLE_AMQP", "maybe")])
            .contains("ENABLE_AMQP: \"maybe\" must be true or false")
    );
}

#[test]
fn what_kubernetes_sets_for_its_services_is_no_setting() {
    let links = [
        ("MO_ROUTER_PORT", "tcp://10.0.0.1:9095"),
        ("MO_ROUTER_SERVICE_HOST", "10.0.0.1"),
        ("MO_ROUTER_SERVICE_PORT", "9095"),
        ("MO_ROUTER_SERVICE_PORT_HTTP", "9095"),
        ("MO_ROUTER_PORT_9095_TCP", "tcp://10.0.0.1:9095"),
        ("MO_ROUTER_RABBITMQ_SERVICE_HOST", "10.0.0.2"),
        ("MO_ROUTER_RABBITMQ_SERVICE_PORT_AMQP", "5672"),
        ("MO_ROUTER_RABBITMQ_PORT", "tcp://10.0.0.2:5672"),
        ("MO_ROUTER_RABBITMQ_PORT_5672_TCP", "tcp://10.0.0.2:5672"),
        ("MO_ROUTER_RABBITMQ_PORT_5672_TCP_ADDR", "10.0.0.2"),
        ("MO_ROUTER_RABBITMQ_PORT_5672_TCP_PORT", "5672"),
        ("MO_ROUTER_RABBITMQ_PORT_5672_TCP_PROTO", "tcp"),
        ("AMQP_PORT", "tcp://10.0.0.3:5672"),
    ];
    assert_eq!(load("", &links).unwrap(), Settings::default());
    // Those that only look a little like it are mistakes, or meant.
    for (name, text) in [("MO_ROUTER_HTTP_PORT", "9095"), ("MO_ROUTER_RABBITMQ_HOST", "10.0.0.2")] {
        assert!(error("", &[(name, text)]).contains(name));
    }
    let config = ("MO_ROUTER_PLUGIN_RELAY_CONFIG_PORT", "tcp://10.0.0.1:1");
    assert_eq!(load("", &[config]).unwrap().of_plugin("relay").config["port"], config.1);
}

#[test]
fn of_mos_names_for_one_setting_the_newest_wins() {
    let both = [
        ("ENABLE_AMQP", "false"),
        ("AMQP_ENABLE", "true"),
        ("AMQP_OS2MO_EXCHANGE", "os2mo_queue"),
        ("AMQP__EXCHANGE", "os2mo"),
        ("AMQP_HOST", "broker"),
        ("AMQP_URL", "amqp://mo:pw@old/x"),
        ("AMQP__URL", "amqp://mo:pw@new/x"),
    ];
    let settings = load("", &both).unwrap();
    assert!(settings.amqp.enabled);
    assert_eq!(settings.amqp.exchange, "os2mo");
    assert_eq!(settings.amqp.url.to_string(), "amqp://mo:***@new/x");
    let warnings = settings.warnings();
    for (newer, older) in [
        ("AMQP_ENABLE", "ENABLE_AMQP"),
        ("AMQP__EXCHANGE", "AMQP_OS2MO_EXCHANGE"),
        ("AMQP__URL", "AMQP_URL"),
        ("AMQP__URL", "AMQP_HOST or AMQP_PORT"),
    ] {
        let start = format!("{newer} and {older} contradict each other");
        assert!(warnings.iter().any(|warning| warning.starts_with(&start)), "{warnings:?}");
    }
    assert!(!warnings.concat().contains("pw"));
    assert_eq!(settings.origins.variables["amqp.url"], "AMQP__URL");

    let agree = [("ENABLE_AMQP", "1"), ("AMQP_ENABLE", "true"), ("MO_ROUTER_AMQP_EXCHANGE", "x")];
    let settings = load("", &agree).unwrap();
    assert_eq!(settings.warnings(), <[String; 0]>::default());
    assert_eq!(settings.origins.variables["amqp.exchange"], "MO_ROUTER_AMQP_EXCHANGE");
}

#[test]
fn what_may_surprise_is_warned_of() {
    let warnings = |text| load(text, &[]).unwrap().warnings();
    assert!(warnings("amqp.enabled = true\namqp.queue_type = 'classic'")[0].contains("transient"));
    assert!(warnings("amqp.enabled = true").is_empty());
}

#[test]
fn mos_own_variables_for_graphql() {
    let variables = [
        ("MO_URL", "https://mo.example.org/"),
        ("CLIENT_ID", "router"),
        ("CLIENT_SECRET", "hush"),
        ("AUTH_SERVER", "https://keycloak.example.org/auth"),
        ("AUTH_REALM", "other"),
    ];
    let mo = load("mo = { client_id = 'file', auth_realm = 'file' }", &variables).unwrap().mo;
    assert_eq!(mo.url.join("/graphql"), "https://mo.example.org/graphql");
    assert_eq!((mo.client_id.as_deref(), &*mo.auth_realm), (Some("router"), "other"));
    assert_eq!(mo.auth_server.join(""), "https://keycloak.example.org/auth");
    assert_eq!(mo.client_secret.as_ref().unwrap().expose(), "hush");
    assert!(!format!("{mo:?}").contains("hush"), "{mo:?}");
    let ours = [("CLIENT_ID", "router"), ("MO_ROUTER_MO_CLIENT_ID", "ours")];
    assert_eq!(load("", &ours).unwrap().mo.client_id.as_deref(), Some("ours"));
    let strange = [("MO_URL", "mo-service:5000"), ("AUTH_SERVER", "keycloak"), ("CLIENT_ID", "x")];
    let wrong = error("mo.enabled = true", &strange);
    assert!(wrong.contains("MO_URL") && wrong.contains("http"), "{wrong}");
    let unused = load("", &strange).unwrap();
    assert_eq!(unused.mo.url, Settings::default().mo.url);
    assert!(unused.mistakes().is_empty());
    let warnings = unused.warnings();
    assert!(warnings.len() == 2 && warnings[0].contains("MO_URL"), "{warnings:?}");
    assert!(error("mo.batch = 0", &[]).contains("out of range"));
}

#[test]
fn no_virtual_host_is_the_root() {
    for url in ["amqp://mo:pw@broker", "amqp://mo:pw@broker/", "amqp://mo:pw@broker/%2f"] {
        assert_eq!(ServerUrl::amqp(url).unwrap().expose(), "amqp://mo:pw@broker/%2f");
    }
    assert_eq!(
        ServerUrl::amqp("amqp://broker:1/mo?heartbeat=5").unwrap().expose(),
        "amqp://broker:1/mo?heartbeat=5"
    );
}

#[test]
fn plugins_have_settings_of_their_own() {
    let settings = load(
        r#"
        [plugin.mo-delay]
        exchanges = ["a", "b"]
        subscriptions = ["employee.#"]
        lanes = 4
        instance = "fresh"
        single_active_consumer = true
        limits.timeout = "2s"
        config = { zone = "UTC", depth = 3, strict = true }
        [limits]
        attempts = 9
        timeout = "3s"
        "#,
        &[],
    )
    .unwrap();
    let plugin = settings.of_plugin("mo-delay");
    assert_eq!(plugin.exchanges, ["a", "b"]);
    assert_eq!(plugin.subscriptions, Some(vec!["employee.#".into()]));
    assert_eq!(
        (plugin.lanes, plugin.instance, plugin.single_active_consumer),
        (4, InstanceMode::Fresh, true)
    );
    assert_eq!((plugin.limits.timeout, plugin.limits.attempts), (Duration::from_secs(2), 9));
    let config: Vec<_> = plugin.config.iter().map(|(key, text)| (&**key, &**text)).collect();
    assert_eq!(config, [("depth", "3"), ("strict", "true"), ("zone", "UTC")]);

    let other = settings.of_plugin("another");
    assert_eq!(other.exchanges, ["os2mo_routed"]);
    assert_eq!((other.limits.timeout, other.lanes), (Duration::from_secs(3), 1));
}

#[test]
fn plugins_have_variables() {
    let settings = load(
        "[plugin.my-config]\nlanes = 2",
        &[
            ("MO_ROUTER_PLUGIN_MO_DELAY_LIMITS_MAX_OUTPUT", "1 KiB"),
            ("MO_ROUTER_PLUGIN_MO_DELAY_EXCHANGES", "a, b"),
            ("MO_ROUTER_PLUGIN_MO_DELAY_CONFIG_EXCHANGES", "x,y"),
            ("MO_ROUTER_PLUGIN_MY_CONFIG_LANES", "3"),
            ("MO_ROUTER_LIMITS_ATTEMPTS", "8"),
        ],
    )
    .unwrap();
    for name in ["mo-delay", "mo_delay", "MO-Delay"] {
        let plugin = settings.of_plugin(name);
        assert_eq!(plugin.exchanges, ["a", "b"]);
        assert_eq!(plugin.config["exchanges"], "x,y");
        assert_eq!((plugin.limits.max_output, plugin.limits.attempts), (1024, 8));
    }
    assert_eq!(settings.of_plugin("my-config").lanes, 3);
}

#[test]
fn unknown_keys_are_rejected_with_the_closest() {
    for (file, expected) in [
        (
            "[amqp]\n\nprefech = 1",
            "mo-router.toml:3: there is no setting amqp.prefech; did you mean prefetch?",
        ),
        ("[ampq]", "mo-router.toml:1: there is no section ampq; did you mean amqp?"),
        ("prefetch = 1", "mo-router.toml:1: there is no section prefetch"),
        (
            "[plugin.x]\nlane = 1",
            "mo-router.toml:2: there is no setting plugin.x.lane; did you mean lanes?",
        ),
        (
            "[plugin.x.limits]\ntime = 1",
            "mo-router.toml:2: there is no setting plugin.x.limits.time; did you mean timeout?",
        ),
        ("plugin = 1", "mo-router.toml:1: plugin is a section; write it as [plugin]"),
        ("[plugin]\nx = 1", "mo-router.toml:2: plugin.x is a section; write it as [plugin.x]"),
        (
            "[amqp]\nurl = ['x']",
            "mo-router.toml:2: amqp.url: an array cannot be here; write one value",
        ),
    ] {
        assert_eq!(error(file, &[]), expected);
    }
    for (variable, meant) in [
        ("MO_ROUTER_AMQP_PREFECH", "MO_ROUTER_AMQP_PREFETCH"),
        ("MO_ROUTER_AMPQ_URL", "MO_ROUTER_AMQP_URL"),
        ("MO_ROUTER_PLUGIN_X_LANS", "MO_ROUTER_PLUGIN_NAME_LANES"),
        ("MO_ROUTER_PLUGIN_X_LIMITS_TIMOUT", "MO_ROUTER_PLUGIN_NAME_LIMITS_TIMEOUT"),
    ] {
        let error = error("", &[(variable, "1")]);
        assert!(
            error.starts_with(variable) && error.ends_with(&format!("; did you mean {meant}?")),
            "{error}"
        );
    }
}

#[test]
fn variables_that_are_no_settings_are_ignored() {
    let others = ["MO_ROUTER_PORT", "MO_ROUTER_PORT_9095_TCP_ADDR", "MO_ROUTER_SERVICE_HOST"];
    for name in others {
        assert_eq!(load("", &[(name, "tcp://10.0.0.1:9095")]).unwrap(), Settings::default());
    }
}

#[test]
fn values_out_of_range_say_how_to_fix_them() {
    for (file, expected) in [
        ("amqp.prefetch = 0", "amqp.prefetch: 0 is out of range; it must be from 1 to 65535"),
        (
            "amqp.prefetch = 65536",
            "amqp.prefetch: \"65536\" must be a whole number, from 1 to 65535",
        ),
        ("amqp.enabled = 'perhaps'", "amqp.enabled: \"perhaps\" must be true or false"),
        ("amqp.queue_type = 'lazy'", "amqp.queue_type: \"lazy\" must be \"quorum\" or \"classic\""),
        ("amqp.exchange = ''", "amqp.exchange: the name is empty"),
        (
            "limits.attempts = 0",
            "limits.attempts: 0 is out of range; it must be from 1 to 4294967295",
        ),
        (
            "limits.timeout = 1",
            "limits.timeout: \"1\" must be a time span with its unit, such as \"1s\", \"250ms\" or \"7days\", from 1ms to 1h",
        ),
        ("limits.timeout = '0s'", "limits.timeout: 0s is out of range; it must be from 1ms to 1h"),
        (
            "limits.memory = '8 GiB'",
            "limits.memory: 8 GiB is out of range; it must be from 64 KiB to 4 GiB",
        ),
        (
            "limits.memory = 'lots'",
            "limits.memory: \"lots\" must be a size, such as \"64 MiB\" or a number of bytes, from 64 KiB to 4 GiB",
        ),
        (
            "http.listen = '9095'",
            "http.listen: \"9095\" must be an IP address and a port, such as \"127.0.0.1:9095\" or \"[::]:9095\"",
        ),
        (
            "events.naive_time_zone = 'Europe/Kopenhagen'",
            "events.naive_time_zone: \"Europe/Kopenhagen\" is not a time zone; did you mean \"Europe/Copenhagen\"?",
        ),
        ("plugin.x.lanes = 'x'", "plugin.x.lanes: \"x\" must be a whole number, from 1 to 1024"),
        ("plugin.x.lanes = 0", "plugin.x.lanes: 0 is out of range; it must be from 1 to 1024"),
        (
            "plugin.x.limits.attempts = 0",
            "plugin.x.limits.attempts: 0 is out of range; it must be from 1 to 4294967295",
        ),
    ] {
        assert_eq!(error(file, &[]), format!("mo-router.toml:1: {expected}"));
    }
    assert_eq!(
        error("", &[("MO_ROUTER_AMQP_PREFETCH", "many")]),
        "MO_ROUTER_AMQP_PREFETCH: amqp.prefetch: \"many\" must be a whole number, from 1 to 65535"
    );
}

#[test]
fn empty_variables_are_not_set() {
    let file = "amqp.prefetch = 5\nplugins.cache_dir = '/file'\nplugin.x.exchanges = ['file']\n\
                plugin.x.config.word = 'file'";
    let names = [
        "MO_ROUTER_AMQP_PREFETCH",
        "MO_ROUTER_AMQP_EXCHANGE",
        "MO_ROUTER_PLUGINS_CACHE_DIR",
        "MO_ROUTER_PLUGIN_X_EXCHANGES",
        "MO_ROUTER_PLUGIN_X_LIMITS_TIMEOUT",
        "AMQP_URL",
    ];
    assert_eq!(load(file, &names.map(|name| (name, ""))).unwrap(), load(file, &[]).unwrap());
    // A plugin may tell an empty setting from none.
    let word = ("MO_ROUTER_PLUGIN_X_CONFIG_WORD", "");
    assert_eq!(load(file, &[word]).unwrap().of_plugin("x").config["word"], "");
    assert!(error("", &[("MO_ROUTER_AMQP_PREFECH", "")]).contains("there is no such setting"));
}

#[test]
fn a_file_that_is_asked_for_must_exist() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("router.toml");
    let missing = format!("{:#}", Settings::load(Some(&path), []).unwrap_err());
    assert!(missing.contains(&path.display().to_string()), "{missing}");
    std::fs::write(&path, "amqp.prefetch = 3").unwrap();
    assert_eq!(Settings::load(Some(&path), []).unwrap().amqp.prefetch, 3);
}

#[test]
fn while_it_runs_only_what_is_said_of_plugins_changes() {
    let old = load("[amqp]\noutput_exchange = \"old\"", &[]).unwrap();
    let newer = "[amqp]\noutput_exchange = \"new\"\n[limits]\nattempts = 7\n[plugin.p]\nlanes = 2";
    let changed = old.with_plugins_of(&load(newer, &[]).unwrap());
    let plugin = changed.of_plugin("p");
    assert_eq!((plugin.lanes, plugin.limits.attempts), (2, 7));
    // Where publications go that name no exchange is also where the plugin may publish.
    assert_eq!(plugin.exchanges, [changed.amqp.output_exchange]);
}
