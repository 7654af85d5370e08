;; Answers 1,000 publications whose bodies are the same 16 MB: 16 GB in all.
(module
  (memory (export "memory") 260)
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 32768))
  (data (i32.const 4096) "\00\00\00\00\00\00\02\00\e8\03\00\00") ;; 1,000 at 131072
  (func (export "os2mo:router/filter@1.0.0#subscriptions") (result i32) (i32.const 1024))
  (func (export "os2mo:router/filter@1.0.0#route") (param i32) (result i32)
    (local $at i32) (local $left i32)
    (local.set $at (i32.const 131072))
    (local.set $left (i32.const 1000))
    (loop
      (i32.store (i32.add (local.get $at) (i32.const 24)) (i32.const 1))
      (i32.store (i32.add (local.get $at) (i32.const 32)) (i32.const 16000000))
      (local.set $at (i32.add (local.get $at) (i32.const 88)))
      (br_if 0 (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
    (i32.const 4096)))
