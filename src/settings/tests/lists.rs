//! Lists, from the file and from variables.

use super::{error, load};

/// The exchanges and subscriptions of the plugin `x`.
fn lists(file: &str, variables: &[(&str, &str)]) -> (Vec<String>, Option<Vec<String>>) {
    let plugin = load(file, variables).unwrap().of_plugin("x");
    (plugin.exchanges, plugin.subscriptions)
}

#[test]
fn lists_in_the_file_hold_exactly_what_is_written() {
    for items in [&["a,b", ""][..], &[" a ", "[b"], &[""]] {
        let file = format!("[plugin.x]\nexchanges = {items:?}\nsubscriptions = {items:?}");
        let (exchanges, subscriptions) = lists(&file, &[]);
        assert_eq!(exchanges, items);
        assert_eq!(subscriptions.unwrap(), items);
    }
    let empty = "[plugin.x]\nexchanges = []\nsubscriptions = []";
    assert_eq!(lists(empty, &[]), (vec!["os2mo_routed".into()], None));
}

#[test]
fn lists_as_text_are_separated_by_commas_or_json() {
    for (text, expected) in [
        ("a", &["a"][..]),
        (" a, b,,c ", &["a", "b", "c"]),
        (r#"["a,b", ""]"#, &["a,b", ""]),
        (r#" [" a "]"#, &[" a "]),
    ] {
        let file = "plugin.x = { exchanges = ['file'], subscriptions = ['file'] }";
        let variables =
            [("MO_ROUTER_PLUGIN_X_EXCHANGES", text), ("MO_ROUTER_PLUGIN_X_SUBSCRIPTIONS", text)];
        let (exchanges, subscriptions) = lists(file, &variables);
        assert_eq!(exchanges, expected);
        assert_eq!(subscriptions.unwrap(), expected);
        // A single string in the file is read like a variable.
        assert_eq!(lists(&format!("plugin.x.exchanges = '{text}'"), &[]).0, expected);
    }
    let none = ("MO_ROUTER_PLUGIN_X_SUBSCRIPTIONS", "[]");
    assert_eq!(lists("plugin.x.subscriptions = ['file']", &[none]).1, None);
}

#[test]
fn lists_that_cannot_be_read_say_how_to_write_them() {
    let long = "x".repeat(256);
    for (value, expected) in [
        ("[1]", "an array can only hold strings"),
        ("[['a']]", "an array can only hold strings"),
        ("'[a, b]'", "begins like a JSON array but is not one of strings, such as [\"a\", \"b\"]"),
        (&format!("['{long}']"), "the name has 256 bytes; AMQP allows 255"),
        ("{ a = 1 }", "a section cannot be here; write one value"),
    ] {
        let error = error(&format!("plugin.x.exchanges = {value}"), &[]);
        assert!(error.starts_with("mo-router.toml:1: plugin.x.exchanges: "), "{error}");
        assert!(error.ends_with(expected), "{error}");
    }
    let subscriptions = error(&format!("plugin.x.subscriptions = ['a', '{long}']"), &[]);
    assert!(subscriptions.ends_with("AMQP allows 255"), "{subscriptions}");
    for key in ["amqp.exchange", "amqp.output_exchange", "amqp.queue_prefix", "mo.exchange"] {
        let error = error(&format!("{key} = '{long}'"), &[]);
        assert!(error.ends_with("the name has 256 bytes; AMQP allows 255"), "{error}");
    }
    for key in ["lanes", "config.list"] {
        let error = error(&format!("plugin.x.{key} = ['1']"), &[]);
        assert!(error.ends_with("an array cannot be here; write one value"), "{error}");
    }
}
