// Package filter merges edits. Whoever corrects an address three times in a
// minute causes three events; consumers get one, once things have been quiet
// for a while.
package filter

import (
	"fmt"
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
// the same object and day takes the place of the one that waits. An edit that
// takes effect on another day tells of another change.
func Route(event Event) Result[[]Publication, Failure] {
	object := event.ObjectUuid.SomeOr(event.Uuid)
	effect := event.Time.SomeOr(Datetime{}).Seconds
	return Ok[[]Publication, Failure]([]Publication{{
		Due: MakeDueAfter(uint64(Quiet.Milliseconds())),
		Key: Some(fmt.Sprintf("%s %s %d", event.RoutingKey, object, effect)),
	}})
}
