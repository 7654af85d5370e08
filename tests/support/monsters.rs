//! Plugins' files that ask for more than a plugin may have, too large to be written by hand.

use wit_component::ComponentEncoder;

use super::plugins::{build, hostile, hostile_text};
use super::wasm::{functions, loops, with_module};

/// The well-behaved plugin with more in its module.
fn with(more: &str) -> Vec<u8> {
    build(&hostile_text("well-behaved").replacen("(module\n", &format!("(module\n{more}\n"), 1))
}

/// The well-behaved plugin with another module in its component.
fn beside(module: &[u8]) -> Vec<u8> {
    let component = ComponentEncoder::default()
        .module(&hostile("well-behaved"))
        .and_then(|mut encoder| encoder.encode());
    with_module(&component.expect("a component"), module, 0)
}

/// Plugins that are refused by their structure: name, file, and what the reason contains.
pub fn by_structure() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let globals = "(global i32 (i32.const 0))".repeat(120_000);
    let resources = "(type (resource (rep i32)))".repeat(20_000);
    let instances = "(instance (instantiate $c))".repeat(390);
    let tables = "(table 1 funcref)".repeat(65);
    vec![
        ("many-globals", with(&globals), "120000 globals; the limit is 100000"),
        ("many-tables", with(&tables), "65 tables; the limit is 64"),
        ("many-locals", beside(&functions(1, 30_000, &[])), "locals; the limit is 20000"),
        (
            "many-functions",
            beside(&functions(210_000, 0, &[])),
            "210000 functions in one module; the limit is 200000",
        ),
        (
            "locals-and-loops",
            beside(&functions(1, 2000, &loops(400, 1))),
            "locals times loops; the limit is",
        ),
        (
            "many-resources",
            wat::parse_str(format!("(component (component $c {resources}) {instances})"))
                .expect("a component"),
            "bytes of structures for its instances; the limit is 33554432",
        ),
    ]
}

/// A plugin whose structure is within bounds, and that takes long to compile: so many functions
/// that are as hard as they may be.
pub fn slow(count: usize) -> Vec<u8> {
    beside(&functions(count, 1000, &loops(190, 1000)))
}

/// A plugin of much code: so many functions of some thousand instructions.
pub fn large(count: usize) -> Vec<u8> {
    beside(&functions(count, 20, &loops(50, 20)))
}
