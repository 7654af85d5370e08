;; Subscribes to everything and forwards it: what the others are measured by.
(module
  (memory (export "memory") 40)
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 32768))
  (data (i32.const 1024) "\00\08\00\00\01\00\00\00") ;; one pattern, at 2048
  (data (i32.const 2048) "\10\08\00\00\01\00\00\00") ;; one byte, at 2064
  (data (i32.const 2064) "#")
  (data (i32.const 4096) "\00\00\00\00\00\20\00\00\01\00\00\00") ;; ok: one publication, at 8192, all unset
  (func (export "os2mo:router/filter@1.0.0#subscriptions") (result i32) (i32.const 1024))
  (func (export "os2mo:router/filter@1.0.0#route") (param i32) (result i32)
    (i32.const 4096)))
