//go:build !wasm

package router

import "maps"

// Settings are the plugin's settings in unit tests, which run natively.
var Settings = map[string]string{}

// Message is what was logged.
type Message struct {
	Level            Level
	Context, Message string
}

// Logged is what unit tests have logged.
var Logged []Message

// Reset forgets all settings and what was logged.
func Reset() {
	clear(Settings)
	Logged = nil
}

func get(key string) (string, bool) {
	value, found := Settings[key]
	return value, found
}

func getAll() map[string]string {
	return maps.Clone(Settings)
}

func log(level Level, context, message string) {
	Logged = append(Logged, Message{level, context, message})
}
