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

func getAll() map[string]string {
	settings := map[string]string{}
	if found := wasi_config_store.GetAll(); found.IsOk() {
		for _, setting := range found.Ok() {
			settings[setting.F0] = setting.F1
		}
	}
	return settings
}

func log(level Level, context, message string) {
	wasi_logging_logging.Log(uint8(level), context, message)
}
