package filter

import (
	"fmt"

	. "go.bytecodealliance.org/pkg/wit/types"
	. "mo-plugin/merge/bindings/imports/os2mo_router_types"
)

func Subscriptions() []string {
	return []string{"*.*.edit"}
}

func Route(event Event) Result[[]Publication, Failure] {
	return Ok[[]Publication, Failure]([]Publication{{
		Due: MakeDueAfter(30_000),
		Key: Some(fmt.Sprintf("%s %s %d", event.RoutingKey, event.ObjectUuid.SomeOr(event.Uuid),
			event.Time.SomeOr(Datetime{}).Seconds)),
	}})
}
