package filter

import (
	"maps"
	"slices"
	"strings"

	. "go.bytecodealliance.org/pkg/wit/types"
	. "mo-plugin/copies/bindings/imports/os2mo_router_types"
	"mo-plugin/copies/router"
)

func Subscriptions() []string {
	return []string{"employee.#"}
}

func Route(Event) Result[[]Publication, Failure] {
	var copies []Publication
	settings := router.AllSettings()
	for _, key := range slices.Sorted(maps.Keys(settings)) {
		if strings.HasPrefix(key, "copy-") {
			copies = append(copies, Publication{RoutingKey: Some(settings[key])})
		}
	}
	return Ok[[]Publication, Failure](copies)
}
