;; Logs, and rejects each event with, what a terminal obeys: it clears the screen, sets the
;; title, goes back to the start of the line, begins another line and turns the direction.
(module
  (import "wasi:logging/logging@0.1.0-draft" "log" (func $log (param i32 i32 i32 i32 i32)))
  (memory (export "memory") 40)
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 32768))
  (data (i32.const 1024) "\00\08\00\00\01\00\00\00") ;; one pattern, at 2048
  (data (i32.const 2048) "\10\08\00\00\01\00\00\00") ;; one byte, at 2064
  (data (i32.const 2064) "#")
  (data (i32.const 4096) "\01\00\00\00\01\00\00\00\00\20\00\00\22\00\00\00") ;; err: reject, 34 bytes at 8192
  (data (i32.const 8192) "evil\1b[2J\1b]0;mine\07\0d\0aERROR \e2\80\ae\c2\9bm,,,")
  (func (export "os2mo:router/filter@1.0.0#subscriptions") (result i32) (i32.const 1024))
  (func (export "os2mo:router/filter@1.0.0#route") (param i32) (result i32)
    (call $log (i32.const 2) (i32.const 8192) (i32.const 34) (i32.const 8192) (i32.const 34))
    (i32.const 4096)))
