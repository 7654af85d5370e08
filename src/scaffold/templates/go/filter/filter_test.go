package filter

import (
	"testing"

	. "go.bytecodealliance.org/pkg/wit/types"
	. "mo-plugin/plugin-name/bindings/imports/os2mo_router_types"
)

func route(action string) []Publication {
	return Route(Event{Topic: Topic{ObjectType: "address", Action: Some(action)}}).Ok()
}

func TestEditsAreForwarded(t *testing.T) {
	if got := route("edit"); len(got) != 1 || got[0].Due.Tag() != Due_Now {
		t.Errorf("want the event at once, got %v", got)
	}
}

func TestRefreshesAreDropped(t *testing.T) {
	if got := route("refresh"); len(got) != 0 {
		t.Errorf("want nothing, got %v", got)
	}
}
