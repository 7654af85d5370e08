;; Asks for 3 GiB at once, and traps when it does not get them.
(module
  (memory (export "memory") 2)
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 32768))
  (func (export "os2mo:router/filter@1.0.0#subscriptions") (result i32) (i32.const 1024))
  (func (export "os2mo:router/filter@1.0.0#route") (param i32) (result i32)
    (if (i32.eq (memory.grow (i32.const 49152)) (i32.const -1)) (then (unreachable)))
    (i32.const 4096)))
