package filter

import (
	"testing"

	. "go.bytecodealliance.org/pkg/wit/types"
	. "mo-plugin/reminder/bindings/imports/os2mo_router_types"
	"mo-plugin/reminder/router"
)

func route(time int64) Result[[]Publication, Failure] {
	return Route(Event{
		RoutingKey: "employee.engagement.create",
		Uuid:       "person",
		Time:       Some(Datetime{Seconds: time}),
	})
}

func TestEightIsAnHourEarlierInSummer(t *testing.T) {
	for _, want := range []struct {
		effective int64
		day       string
		at        int64
	}{
		{1711839600, "2024-03-31", 1711782000},
		{1711922400, "2024-04-01", 1711864800},
		{1729980000, "2024-10-27", 1729922400},
		{1730070000, "2024-10-28", 1730012400},
	} {
		if day, at := reminder(want.effective, 8); day != want.day || at != want.at {
			t.Errorf("want %v, got %s and %d", want, day, at)
		}
	}
}

func TestAChangeIsAnnounced(t *testing.T) {
	router.Reset()
	router.Settings["message"] = "tomorrow"
	got := route(1711922400).Ok()[0]
	want := `{"effective":"2024-04-01","message":"tomorrow","uuid":"person"}`
	if string(got.Body.Some()) != want || got.Due.At().Seconds != 1711864800 {
		t.Errorf("got %s at %v", got.Body.Some(), got.Due)
	}
}

func TestWhatHasNoDateIsNot(t *testing.T) {
	router.Reset()
	if got := route(noDate).Ok(); len(got) != 0 || len(router.Logged) != 1 {
		t.Errorf("got %v, logged %v", got, router.Logged)
	}
}

func TestAnHourIsNeeded(t *testing.T) {
	router.Reset()
	router.Settings["hour"] = "24"
	if !route(1711922400).IsErr() {
		t.Error("want a failure")
	}
}
