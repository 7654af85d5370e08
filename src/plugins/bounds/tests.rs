use super::*;

/// Why WebAssembly in text is refused.
fn refused(text: &str) -> String {
    check(&wat::parse_str(text).unwrap()).unwrap_err().to_string()
}

/// `levels` of components, each of which instantiates the next one `times` times.
fn nested(levels: usize, times: usize) -> String {
    let mut text = "(component (core module $m) (core instance (instantiate $m)))".to_owned();
    for _ in 1..levels {
        let inner = text.replacen("(component", "(component $c", 1);
        text = format!("(component {inner} {})", "(instance (instantiate $c))".repeat(times));
    }
    text
}

#[test]
fn what_multiplies_is_counted() {
    assert!(check(&wat::parse_str(nested(3, 8)).unwrap()).is_ok());
    let reason = refused(&nested(9, 8));
    assert!(reason.contains("instances of modules and components; the limit is 400"), "{reason}");
    let reason = refused(&nested(20, 1));
    assert_eq!(reason, "the plugin has 17 levels of components; the limit is 16");
}

#[test]
fn what_an_alias_stands_for_is_counted() {
    let reason = refused(
        "(component $outer
           (core module $m (memory 1) (memory 1) (memory 1) (memory 1))
           (component $c (alias outer $outer $m (core module $n))
             (core instance (instantiate $n)) (core instance (instantiate $n))
             (core instance (instantiate $n)) (core instance (instantiate $n)))
           (instance (instantiate $c)) (instance (instantiate $c)) (instance (instantiate $c)))",
    );
    assert_eq!(reason, "the plugin has 48 memories; the limit is 32");
    let reason = refused(
        "(component
           (component $c
             (core module $m (memory 1) (memory 1) (memory 1) (memory 1) (memory 1) (memory 1))
             (export \"m\" (core module $m)))
           (instance $i (instantiate $c))
           (alias export $i \"m\" (core module $n))
           (core instance (instantiate $n)) (core instance (instantiate $n))
           (core instance (instantiate $n)) (core instance (instantiate $n))
           (core instance (instantiate $n)) (core instance (instantiate $n)))",
    );
    assert_eq!(reason, "the plugin has 36 memories; the limit is 32");
    let reason = refused(
        "(component $outer
           (component $c
             (core module $m (memory 1) (memory 1) (memory 1) (memory 1) (memory 1) (memory 1))
             (export \"m\" (core module $m)))
           (component $d
             (alias outer $outer $c (component $e))
             (instance $i (instantiate $e))
             (alias export $i \"m\" (core module $n))
             (core instance (instantiate $n)) (core instance (instantiate $n))
             (core instance (instantiate $n)) (core instance (instantiate $n))
             (core instance (instantiate $n)) (core instance (instantiate $n)))
           (instance (instantiate $d)))",
    );
    assert_eq!(reason, "the plugin has 36 memories; the limit is 32");
    let reason = refused("(component (import \"m\" (core module)))");
    assert!(reason.contains("imports modules or components"), "{reason}");
}

#[test]
fn what_the_host_keeps_for_instances_is_counted() {
    let globals = |count: usize| "(global i32 (i32.const 0))".repeat(count);
    let many = "(core instance (instantiate $m))".repeat(100);
    let text = format!("(component (core module $m {}) {many})", globals(2000));
    assert_eq!(refused(&text), "the plugin has 102000 globals; the limit is 100000");
    let text = format!("(module {})", globals(100_001));
    assert_eq!(refused(&text), "the plugin has 100001 globals; the limit is 100000");
    let functions = "(func)".repeat(20_000);
    let text = format!("(component (core module $m {functions}) {many})");
    assert!(refused(&text).contains("bytes of structures for its instances"), "{}", refused(&text));
}

#[test]
fn what_takes_long_to_compile_is_counted() {
    let locals = "(local i32)".repeat(2000);
    let loops = "(loop (br_if 0 (i32.const 0)))".repeat(400);
    assert_eq!(
        refused(&format!("(module (func {locals} {loops}))")),
        "function 0 has 800400 locals times loops; the limit is 200000"
    );
    let locals = "(local i32)".repeat(20_000);
    assert_eq!(
        refused(&format!("(module (func) (func {locals}))")),
        "function 1 has 20001 locals; the limit is 20000"
    );
}

#[test]
fn damage_is_an_error() {
    let whole = wat::parse_str(nested(3, 8)).unwrap();
    assert!(check(&whole[..whole.len() - 1]).is_err());
    for length in 0..whole.len() {
        // A part that ends with a section may be whole.
        let _ = check(&whole[..length]);
    }
}

#[test]
fn what_an_imported_instance_hands_out_is_refused() {
    let globals = "(global i32 (i32.const 0))".repeat(1000);
    let inside = "(core instance (instantiate $n))".repeat(100);
    let reason = refused(&format!(
        "(component
           (core module $m {globals})
           (component $inner
             (import \"i\" (instance $i (export \"m\" (core module))))
             (alias export $i \"m\" (core module $n)) {inside})
           (instance $a (export \"m\" (core module $m)))
           (instance (instantiate $inner (with \"i\" (instance $a)))))"
    ));
    assert!(reason.contains("imports modules or components"), "{reason}");
    // Also by a type of a type, and of components.
    for exported in ["(core module)", "(component)"] {
        let reason = refused(&format!(
            "(component
               (type $outer (instance
                 (type $inner (instance (export \"m\" {exported})))
                 (export \"i\" (instance (type $inner)))))
               (import \"o\" (instance (type $outer))))"
        ));
        assert!(reason.contains("imports modules or components"), "{reason}");
    }
}

#[test]
fn what_a_failure_would_show_is_counted() {
    let named = |length: usize| format!("(module (func) (func ${}))", "x".repeat(length));
    assert!(check(&wat::parse_str(named(4000)).unwrap()).is_ok());
    let reason = refused(&named(100_000));
    assert_eq!(reason, "the name of function 1 has 100000 bytes; the limit is 65536");
    let inside = named(100_000).replace("(module", "(core module");
    assert_eq!(refused(&format!("(component {inside})")), reason);
}

#[test]
fn what_takes_long_to_read_is_counted() {
    let blocks = "(block)".repeat(6000);
    let reason = refused(&format!("(module (func {} {blocks}))", "(local i32)".repeat(19_000)));
    assert!(reason.contains("locals times blocks; the limit is 100000000"), "{reason}");
    let reason = refused(&format!("(module (func {}))", "nop ".repeat(4 << 20)));
    assert!(reason.contains("bytes; the limit is 4194304"), "{reason}");
    let sections = [0, 2, 1, b'x'].repeat(100_001);
    let file = [b"\0asm\x01\0\0\0".as_slice(), &sections].concat();
    let reason = check(&file).unwrap_err().to_string();
    assert!(reason.contains("sections; the limit is 100000"), "{reason}");
}

#[test]
fn what_instances_of_components_have_of_their_own_is_counted() {
    let many = |inside: &str, times: usize| {
        let instances = "(instance (instantiate $c))".repeat(times);
        format!("(component (component $c {inside}) {instances})")
    };
    let resources = "(type (resource (rep i32)))".repeat(20_000);
    assert!(check(&wat::parse_str(many(&resources, 1)).unwrap()).is_ok());
    let reason = refused(&many(&resources, 390));
    assert!(reason.contains("bytes of structures for its instances"), "{reason}");
    let lowered = "(core func (canon lower (func $f)))".repeat(20_000);
    let inside = format!("(import \"f\" (func $f)) {lowered}");
    let with = "(instance (instantiate $c (with \"f\" (func $f))))".repeat(100);
    let text = format!("(component (import \"f\" (func $f)) (component $c {inside}) {with})");
    let reason = refused(&text);
    assert!(reason.contains("bytes of structures for its instances"), "{reason}");
}

#[test]
fn types_are_counted_wherever_they_are_and_whether_or_not_anything_is_instantiated() {
    let parameters = "(param i32 i32 i32 i32 i32 i32 i32 i32 i32)";
    let types = format!("(type (func {parameters}))").repeat(6_000);
    assert!(check(&wat::parse_str(format!("(module {types})")).unwrap()).is_ok());
    let group = "(type (struct (field i32)))".repeat(50_001);
    let declared = "(type (func))".repeat(100_000);
    for text in [
        format!("(component (core module {types}) (component (core module {types})))"),
        format!("(module (rec {group}))"),
        format!("(component (core type (module {declared})))"),
        format!("(component (type (component (type (instance {declared})))))"),
    ] {
        let reason = refused(&text);
        assert!(reason.ends_with("types, parameters and fields; the limit is 100000"), "{reason}");
    }
}
