// Package filter reminds of changes of engagements on the day before they take
// effect.
package filter

import (
	"fmt"
	"log/slog"
	"strconv"

	"github.com/tidwall/sjson"
	. "go.bytecodealliance.org/pkg/wit/types"
	. "mo-plugin/reminder/bindings/imports/os2mo_router_types"
	"mo-plugin/reminder/router"
)

// noDate is what MO sends for "no date".
const noDate = 253402300799

// Subscriptions names the events that the plugin wants.
func Subscriptions() []string {
	return []string{"employee.engagement.*"}
}

// Route says what to publish for one event.
func Route(event Event) Result[[]Publication, Failure] {
	set := router.Setting("hour", "8")
	hour, err := strconv.ParseUint(set, 10, 8)
	if err != nil || hour > 23 {
		why := fmt.Sprintf("config.hour is %s: an hour from 0 to 23 is needed", set)
		return Err[[]Publication, Failure](MakeFailureReject(why))
	}
	time := event.Time.SomeOr(Datetime{Seconds: noDate})
	if time.Seconds >= noDate {
		slog.Debug(event.RoutingKey + " has no date")
		return Ok[[]Publication, Failure](nil)
	}
	day, at := reminder(time.Seconds, int(hour))
	changed := event.ObjectUuid.SomeOr(event.Uuid)
	return Ok[[]Publication, Failure]([]Publication{{
		RoutingKey: Some("reminder." + event.RoutingKey),
		Body:       Some(body(day, event.Uuid)),
		Due:        MakeDueAt(Datetime{Seconds: at}),
		Key:        Some(event.RoutingKey + " " + changed + " " + day),
	}})
}

func body(day, uuid string) []byte {
	var body []byte
	for _, field := range [][2]string{
		{"effective", day},
		{"message", router.Setting("message", "A change takes effect tomorrow")},
		{"uuid", uuid},
	} {
		var err error
		if body, err = sjson.SetBytes(body, field[0], field[1]); err != nil {
			panic(err)
		}
	}
	return body
}
