// Package export_os2mo_router_filter is where the generated code looks for
// what the plugin exports. The plugin itself is in the package filter.
package export_os2mo_router_filter

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"

	. "go.bytecodealliance.org/pkg/wit/types"
	. "mo-plugin/merge-edits/bindings/imports/os2mo_router_types"
	"mo-plugin/merge-edits/filter"
)

func Subscriptions() []string {
	return filter.Subscriptions()
}

func Route(event Event) Result[[]Publication, Failure] {
	collectGarbage()
	return filter.Route(event)
}

// The garbage collector asks what time it is. The component model forbids that
// while an event is being written to the plugin's memory, so the collector must
// not start by itself: it would trap.
func init() {
	debug.SetGCPercent(-1)
}

const smallHeap = 8 << 20

var limit uint64 = smallHeap

func collectGarbage() {
	if heapSize() > limit {
		runtime.GC()
		limit = max(smallHeap, 2*heapSize())
	}
}

var heap = []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}

func heapSize() uint64 {
	metrics.Read(heap)
	return heap[0].Value.Uint64()
}
