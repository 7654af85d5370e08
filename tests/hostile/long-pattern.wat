;; Asks for a pattern of 300 bytes.
(module
  (memory (export "memory") 2)
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 32768))
  (data (i32.const 1024) "\00\08\00\00\01\00\00\00")
  (data (i32.const 2048) "\00\10\00\00\2c\01\00\00")
  (func (export "os2mo:router/filter@1.0.0#subscriptions") (result i32) (i32.const 1024))
  (func (export "os2mo:router/filter@1.0.0#route") (param i32) (result i32)
    (i32.const 4096)))
