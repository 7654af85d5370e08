;; Says why, and traps, as languages' runtimes do.
(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 16)
  (global $next (mut i32) (i32.const 32768))
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    (global.get $next)
    (global.set $next (i32.and (i32.add (i32.add (global.get $next) (local.get 3)) (i32.const 7)) (i32.const -8))))
  (data (i32.const 6144) "\00\1a\00\00\23\00\00\00") ;; 35 bytes at 6656
  (data (i32.const 6656) "thread panicked: no unit of the id 7")
  (func (export "os2mo:router/filter@1.0.0#subscriptions") (result i32) (i32.const 1024))
  (func (export "os2mo:router/filter@1.0.0#route") (param i32) (result i32)
    (drop (call $write (i32.const 2) (i32.const 6144) (i32.const 1) (i32.const 6400)))
    (unreachable)))
