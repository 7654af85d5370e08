;; Traps: division by zero.
(module
  (memory (export "memory") 2)
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 32768))
  (table $table 2 funcref)
  (elem (i32.const 0) func $other)
  (func $other (param f64))
  (type $plain (func))
  (func (export "os2mo:router/filter@1.0.0#subscriptions") (result i32) (i32.const 1024))
  (func (export "os2mo:router/filter@1.0.0#route") (param i32) (result i32)
    (drop (i32.div_s (i32.const 1) (i32.const 0)))
    (i32.const 4096)))
