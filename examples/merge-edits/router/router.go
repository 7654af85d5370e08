// Package router is what the router provides to a plugin: its settings and a log. In unit tests,
// which run natively, Settings and Logged take its place.
package router

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
)

// Setting returns `[plugin.NAME] config.KEY`, or otherwise where it is not set.
func Setting(key, otherwise string) string {
	if value, found := get(key); found {
		return value
	}
	return otherwise
}

// AllSettings returns all of `[plugin.NAME] config.*`, by their keys.
func AllSettings() map[string]string {
	return getAll()
}

// Level is how much a message matters.
type Level uint8

// The levels of wasi:logging.
const (
	Trace Level = iota
	Debug
	Info
	Warn
	Error
	Critical
)

// Log writes a message to the router's log; context says what it belongs to. Bytes that are no
// UTF-8, which the router would refuse, become U+FFFD.
func Log(level Level, context, message string) {
	log(level, strings.ToValidUTF8(context, "\uFFFD"), strings.ToValidUTF8(message, "\uFFFD"))
}

// The packages log and log/slog write to the router's log, at their levels.
func init() {
	slog.SetDefault(slog.New(handler{}))
}

type handler struct {
	attributes string
}

func (handler) Enabled(context.Context, slog.Level) bool { return true }

func (h handler) Handle(_ context.Context, record slog.Record) error {
	level := Trace
	for _, known := range []struct {
		from  slog.Level
		level Level
	}{{slog.LevelDebug, Debug}, {slog.LevelInfo, Info}, {slog.LevelWarn, Warn}, {slog.LevelError, Error}} {
		if record.Level >= known.from {
			level = known.level
		}
	}
	var text strings.Builder
	text.WriteString(record.Message + h.attributes)
	record.Attrs(func(attribute slog.Attr) bool {
		fmt.Fprintf(&text, " %s=%v", attribute.Key, attribute.Value)
		return true
	})
	Log(level, "slog", text.String())
	return nil
}

func (h handler) WithAttrs(attributes []slog.Attr) slog.Handler {
	for _, attribute := range attributes {
		h.attributes += fmt.Sprintf(" %s=%v", attribute.Key, attribute.Value)
	}
	return h
}

func (h handler) WithGroup(string) slog.Handler { return h }
