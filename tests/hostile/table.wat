;; Grows a table instead of a memory.
(module
  (memory (export "memory") 2)
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 32768))
  (table $table 1 funcref)
  (func (export "os2mo:router/filter@1.0.0#subscriptions") (result i32) (i32.const 1024))
  (func (export "os2mo:router/filter@1.0.0#route") (param i32) (result i32)
    (loop (br_if 0 (i32.ne (table.grow $table (ref.null func) (i32.const 100000)) (i32.const -1))))
    (unreachable)))
