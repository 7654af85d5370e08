package filter

import (
	"testing"

	. "mo-plugin/copies/bindings/imports/os2mo_router_types"
	"mo-plugin/copies/router"
)

func TestCopiesAreSettings(t *testing.T) {
	router.Reset()
	if copies := Route(Event{}).Ok(); len(copies) != 0 {
		t.Errorf("want none, got %v", copies)
	}
	router.Settings["copy-b"] = "two"
	router.Settings["other"] = ""
	router.Settings["copy-a"] = "one"
	copies := Route(Event{}).Ok()
	if len(copies) != 2 || copies[0].RoutingKey.Some() != "one" || copies[1].RoutingKey.Some() != "two" {
		t.Errorf("want one and two, got %v", copies)
	}
	delete(router.AllSettings(), "copy-a")
	if len(router.Settings) != 3 {
		t.Error("the settings are the router's, and the map a copy")
	}
}
