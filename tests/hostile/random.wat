;; Asks for 2 MiB of random bytes.
(module
  (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
  (memory (export "memory") 64)
  (global $next (mut i32) (i32.const 32768))
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    (global.get $next)
    (global.set $next (i32.and (i32.add (i32.add (global.get $next) (local.get 3)) (i32.const 7)) (i32.const -8))))
  (func (export "os2mo:router/filter@1.0.0#subscriptions") (result i32) (i32.const 1024))
  (func (export "os2mo:router/filter@1.0.0#route") (param i32) (result i32)
    (drop (call $random (i32.const 1048576) (i32.const 2097152)))
    (i32.const 4096)))
