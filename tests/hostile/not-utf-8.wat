;; Answers a routing key that is not UTF-8.
(module
  (memory (export "memory") 2)
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 32768))
  (data (i32.const 4096) "\00\00\00\00\00\20\00\00\01\00\00\00")
  (data (i32.const 8204) "\01\00\00\00\00\30\00\00\04\00\00\00") ;; key: 4 bytes at 12288
  (data (i32.const 12288) "\ff\fe\80\c0")
  (func (export "os2mo:router/filter@1.0.0#subscriptions") (result i32) (i32.const 1024))
  (func (export "os2mo:router/filter@1.0.0#route") (param i32) (result i32)
    (i32.const 4096)))
