package filter

import (
	"testing"

	. "go.bytecodealliance.org/pkg/wit/types"
	. "mo-plugin/plugin-name/bindings/imports/os2mo_router_types"
	"mo-plugin/plugin-name/router"
)

func route(t *testing.T, action string) []Publication {
	t.Helper()
	answer := Route(Event{Topic: Topic{ObjectType: "address", Action: Some(action)}})
	if answer.IsErr() {
		t.Fatalf("want publications, got a failure: %v", answer.Err())
	}
	return answer.Ok()
}

func TestEditsAreForwarded(t *testing.T) {
	if got := route(t, "edit"); len(got) != 1 || got[0].Due.Tag() != Due_Now {
		t.Errorf("want the event at once, got %v", got)
	}
}

func TestRefreshesAreDropped(t *testing.T) {
	router.Reset()
	if got := route(t, "refresh"); len(got) != 0 {
		t.Errorf("want nothing, got %v", got)
	}
	if len(router.Logged) != 1 || router.Logged[0].Level != router.Debug {
		t.Errorf("want a debug line, got %v", router.Logged)
	}
}

func TestWhatIsSkippedIsASetting(t *testing.T) {
	router.Reset()
	router.Settings["skip"] = "edit terminate"
	if len(route(t, "edit")) != 0 || len(route(t, "refresh")) != 1 {
		t.Error("want the setting's actions skipped, and no others")
	}
}
