;; Answers 2,000 publications of nothing.
(module
  (memory (export "memory") 10)
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 32768))
  (data (i32.const 4096) "\00\00\00\00\00\00\02\00\d0\07\00\00")
  (func (export "os2mo:router/filter@1.0.0#subscriptions") (result i32) (i32.const 1024))
  (func (export "os2mo:router/filter@1.0.0#route") (param i32) (result i32)
    (i32.const 4096)))
