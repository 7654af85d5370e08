;; Logs a message of 50 MB.
(module
  (import "wasi:logging/logging@0.1.0-draft" "log" (func $log (param i32 i32 i32 i32 i32)))
  (memory (export "memory") 900)
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 32768))
  (data (i32.const 1024) "\00\08\00\00\01\00\00\00") ;; one pattern, at 2048
  (data (i32.const 2048) "\10\08\00\00\01\00\00\00") ;; one byte, at 2064
  (data (i32.const 2064) "#")
  (data (i32.const 4096) "\00\00\00\00\00\20\00\00\01\00\00\00") ;; ok: one publication, at 8192, all unset
  (func (export "os2mo:router/filter@1.0.0#subscriptions") (result i32) (i32.const 1024))
  (func (export "os2mo:router/filter@1.0.0#route") (param i32) (result i32)
    (call $log (i32.const 2) (i32.const 65536) (i32.const 1) (i32.const 65536) (i32.const 50000000))
    (i32.const 4096)))
