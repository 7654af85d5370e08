// Package filter forwards what happens to employees, but not what is only
// refreshed.
package filter

import (
	"log/slog"
	"slices"
	"strings"

	. "go.bytecodealliance.org/pkg/wit/types"
	. "mo-plugin/plugin-name/bindings/imports/os2mo_router_types"
	"mo-plugin/plugin-name/router"
)

// Subscriptions names the events that the plugin wants.
func Subscriptions() []string {
	return []string{"employee.#"}
}

// Route says what to publish for one event. `config.skip` has the actions that
// are not forwarded.
func Route(event Event) Result[[]Publication, Failure] {
	skipped := strings.Fields(router.Setting("skip", "refresh"))
	if slices.Contains(skipped, event.Topic.Action.SomeOr("")) {
		slog.Debug("skipped " + event.RoutingKey)
		return Ok[[]Publication, Failure](nil)
	}
	return Ok[[]Publication, Failure]([]Publication{{}}) // nothing set: forward
}
