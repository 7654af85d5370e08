// Package filter merges edits. Whoever corrects an address three times in a
// minute causes three events; consumers get one, once things have been quiet
// for a while.
package filter

import (
	"time"

	. "go.bytecodealliance.org/pkg/wit/types"
	. "mo-plugin/merge-edits/bindings/imports/os2mo_router_types"
)

// Quiet is how long an object must be left alone before its event is sent.
const Quiet = 30 * time.Second

// Subscriptions names the events that the plugin wants.
func Subscriptions() []string {
	return []string{"*.*.create", "*.*.edit", "*.*.update", "*.*.terminate"}
}

// Route delays every event under a key: a newer event of the same kind about
// the same object takes the place of the one that waits.
func Route(event Event) Result[[]Publication, Failure] {
	object := event.ObjectUuid.SomeOr(event.Uuid)
	return Ok[[]Publication, Failure]([]Publication{{
		Due: MakeDueAfter(uint64(Quiet.Milliseconds())),
		Key: Some(event.RoutingKey + " " + object),
	}})
}
