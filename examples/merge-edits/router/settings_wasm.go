//go:build wasm

package router

import "mo-plugin/merge-edits/bindings/imports/wasi_config_store"
import "mo-plugin/merge-edits/bindings/imports/wasi_logging_logging"

func get(key string) (string, bool) {
	value := wasi_config_store.Get(key)
	if value.IsErr() || value.Ok().IsNone() {
		return "", false
	}
	return value.Ok().Some(), true
}

func log(level Level, context, message string) {
	wasi_logging_logging.Log(uint8(level), context, message)
}
