package filter

import (
	. "go.bytecodealliance.org/pkg/wit/types"
	. "mo-plugin/new-plugin/bindings/imports/os2mo_router_types"
	"mo-plugin/new-plugin/router"
)

func Subscriptions() []string {
	return []string{"employee.#"}
}

func Route(event Event) Result[[]Publication, Failure] {
	headers := router.Headers(event)
	death := headers["deaths"].([]any)[0].(map[string]any)
	return Ok[[]Publication, Failure]([]Publication{{
		ContentType:     Some("text/plain"),
		ContentEncoding: Some(""),
		Headers: []router.Header{
			{F0: "text", F1: MakeValueText("a")},
			{F0: "count", F1: MakeValueInt32(int32(headers["count"].(int64)) + 1)},
			{F0: "since", F1: MakeValueTimestamp(headers["since"].(uint64))},
			{F0: "queues", F1: MakeValueList([]uint32{0, 1})},
		},
		Nested: []Value{
			MakeValueText(death["queue"].(string)),
			MakeValueTable([]Tuple2[string, uint32]{{F0: "n", F1: 2}}),
			MakeValueInt32(int32(death["count"].(int64))),
		},
		Priority:      Some(event.Priority.Some() + 1),
		CorrelationId: event.MessageId,
		Expiration:    Some("60000"),
		Timestamp:     Some(event.Timestamp.Some() + 1),
		Type:          Some(event.Type.Some() + "!"),
	}})
}
