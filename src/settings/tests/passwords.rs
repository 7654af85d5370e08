//! Passwords in URLs are in no message.

use super::super::ServerUrl;
use super::{error, load};

#[test]
fn no_message_has_a_password() {
    for url in [
        "http://mo:hunter2@broker/",
        "amqp://mo:hunter2@",
        "amqp://mo:hunter2",
        "amqp://mo:hunter2/x",
        "amqp://mo:hunter2@broker:port/",
        "amqp://mo:hunter2/x@broker/",
        "amqp://mo:hunter2#x@broker/",
        "amqp://mo:1?hunter2@broker/",
        "amqp:/mo:hunter2@broker",
        "mo:hunter2@broker",
        "mo:hunter2://x@broker",
        "amqp:///x?password=hunter2",
    ] {
        for (key, url) in [("amqp.url", url), ("delay.store", &url.replace("amqp:", "postgres:"))] {
            let file = format!("{key} = '{url}'");
            let variable = format!("MO_ROUTER_{}", key.replace('.', "_").to_uppercase());
            for error in [error(&file, &[]), error("", &[(&variable, url)])] {
                assert!(error.contains(key) && !error.contains("hunter2"), "{error}");
            }
        }
    }
    for (name, text) in [("AMQP_URL", "amqp:/mo:hunter2@b"), ("AMQP_HOST", "mo:hunter2@b")] {
        let error = error("", &[(name, text)]);
        assert!(error.starts_with(name) && !error.contains("hunter2"), "{error}");
    }
    let broken = error("[amqp]\nurl = 'amqp://mo:hunter2@b/", &[]);
    assert!(
        broken.starts_with("mo-router.toml:2: this is not TOML: ") && !broken.contains("hunter2"),
        "{broken}"
    );
}

#[test]
fn settings_are_shown_without_passwords() {
    let file = "amqp.url = 'amqp://mo:hunter2@b/'\ndelay.store = 'postgres://mo:hunter2@b/d'";
    let settings = load(file, &[]).unwrap();
    let shown = format!("{settings:?} {settings:#?} {}", settings.amqp.url);
    assert_eq!(shown.matches("mo:***@b").count(), 5, "{shown}");
    assert!(!shown.contains("hunter2"), "{shown}");
    assert_eq!(settings.amqp.url.expose(), "amqp://mo:hunter2@b/%2f");
}

#[test]
fn ports_and_addresses_are_no_passwords() {
    for url in ["amqp://broker:5672/mo", "amqp://[::1]:5672/mo", "amqp://mo@[::1]:5672/mo"] {
        assert_eq!(ServerUrl::amqp(url).unwrap().to_string(), url);
    }
}
