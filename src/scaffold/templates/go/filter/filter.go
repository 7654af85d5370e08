// Package filter forwards what happens to employees, but not what is only
// refreshed.
package filter

import (
	. "go.bytecodealliance.org/pkg/wit/types"
	. "mo-plugin/plugin-name/bindings/imports/os2mo_router_types"
)

// Subscriptions names the events that the plugin wants.
func Subscriptions() []string {
	return []string{"employee.#"}
}

// Route says what to publish for one event.
func Route(event Event) Result[[]Publication, Failure] {
	if event.Topic.Action.SomeOr("") == "refresh" {
		return Ok[[]Publication, Failure](nil)
	}
	return Ok[[]Publication, Failure]([]Publication{{}}) // nothing set: forward
}
