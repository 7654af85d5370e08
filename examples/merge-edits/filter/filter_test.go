package filter

import (
	"testing"

	. "go.bytecodealliance.org/pkg/wit/types"
	. "mo-plugin/merge-edits/bindings/imports/os2mo_router_types"
)

// key returns the key of the only publication for an event.
func key(t *testing.T, event Event) string {
	t.Helper()
	result := Route(event)
	if result.IsErr() || len(result.Ok()) != 1 {
		t.Fatalf("want one publication, got %v", result)
	}
	publication := result.Ok()[0]
	if publication.Due.Tag() != Due_After || publication.Due.After() != 30_000 {
		t.Errorf("want a delay of 30 s, got %v", publication.Due)
	}
	if publication.Body.IsSome() || publication.RoutingKey.IsSome() {
		t.Errorf("want the event unchanged, got %v", publication)
	}
	return publication.Key.Some()
}

func TestEditsOfOneObjectShareAKey(t *testing.T) {
	first := Event{RoutingKey: "employee.address.edit", Uuid: "person", ObjectUuid: Some("address")}
	second := first
	if key(t, first) != key(t, second) {
		t.Error("want the second edit to replace the first")
	}
}

func TestEditsOfOtherDaysDoNot(t *testing.T) {
	first := Event{RoutingKey: "employee.engagement.edit", Uuid: "person", ObjectUuid: Some("engagement")}
	second := first
	first.Time, second.Time = Some(Datetime{Seconds: 1}), Some(Datetime{Seconds: 2})
	if key(t, first) == key(t, second) {
		t.Error("want both: they tell of different changes")
	}
}

func TestOtherObjectsAndActionsDoNot(t *testing.T) {
	edit := Event{RoutingKey: "employee.address.edit", Uuid: "person", ObjectUuid: Some("address")}
	other, terminate := edit, edit
	other.ObjectUuid = Some("other")
	terminate.RoutingKey = "employee.address.terminate"
	if key(t, edit) == key(t, other) || key(t, edit) == key(t, terminate) {
		t.Error("want three keys")
	}
}

func TestWithoutObjectThePersonCounts(t *testing.T) {
	if got := key(t, Event{RoutingKey: "employee.employee.edit", Uuid: "person"}); got != "employee.employee.edit person 0" {
		t.Errorf("got %q", got)
	}
}
