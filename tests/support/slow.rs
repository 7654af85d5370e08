//! A plugin that takes its time.

use std::time::Duration;

use super::plugins::build;

/// Sleeps, and then forwards the event with the header `stamp`. What the adapter to WASI 0.2 asks
/// for it keeps, in pages; the rest is that of one call.
const TEXT: &str = r##"
(module
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 256)
  (global $kept (mut i32) (i32.const 131072))
  (global $next (mut i32) (i32.const 2097152))
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    (local $at i32)
    (if (i32.eq (local.get 3) (i32.const 65536))
      (then
        (local.set $at (global.get $kept))
        (global.set $kept (i32.add (local.get $at) (local.get 3))))
      (else
        (local.set $at (global.get $next))
        (global.set $next
          (i32.and (i32.add (i32.add (local.get $at) (local.get 3)) (i32.const 15)) (i32.const -8)))))
    (local.get $at))
  (data (i32.const 1024) "\00\08\00\00\01\00\00\00") ;; one pattern, at 2048
  (data (i32.const 2048) "\10\08\00\00\01\00\00\00") ;; one byte, at 2064
  (data (i32.const 2064) "#")
  (data (i32.const 4096) "\00\00\00\00\00\20\00\00\01\00\00\00") ;; ok: one publication, at 8192
  ;; One subscription, at 6144: a clock (0), the monotonic one (1), so many ns from now.
  (data (i32.const 6160) "\01")
  (data (i32.const 6168) "NANOSECONDS")
  ;; The list of headers in the publication, its one header, and their texts.
  (data (i32.const 8228) "\d0\20\00\00\01\00\00\00")
  (data (i32.const 8400) "\00\21\00\00\05\00\00\00\10\21\00\00\LENGTH\00\00\00")
  (data (i32.const 8448) "stamp")
  (data (i32.const 8464) "STAMP")
  (func (export "os2mo:router/filter@1.0.0#subscriptions") (result i32) (i32.const 1024))
  (func (export "os2mo:router/filter@1.0.0#route") (param i32) (result i32)
    (drop (call $poll (i32.const 6144) (i32.const 7168) (i32.const 1) (i32.const 7424)))
    (global.set $next (i32.const 2097152))
    (i32.const 4096)))
"##;

/// A plugin that forwards each event with a header `stamp`, after so long.
pub fn slow(stamp: &str, takes: Duration) -> Vec<u8> {
    assert!(stamp.len() < 10, "{stamp:?} is too long");
    let nanoseconds = u64::try_from(takes.as_nanos()).expect("not for centuries").to_le_bytes();
    let nanoseconds = nanoseconds.map(|byte| format!("\\{byte:02x}")).concat();
    let text = TEXT
        .replace("NANOSECONDS", &nanoseconds)
        .replace("LENGTH", &format!("0{}", stamp.len()))
        .replace("STAMP", stamp);
    build(&text)
}
