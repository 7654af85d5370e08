package filter

import (
	"fmt"
	"strconv"
	"time"

	. "go.bytecodealliance.org/pkg/wit/types"
	. "mo-plugin/ten-minutes/bindings/imports/os2mo_router_types"
)

const window = 10 * 60 // seconds

func Subscriptions() []string {
	return []string{"employee.#"}
}

func Route(event Event) Result[[]Publication, Failure] {
	// Each person's windows begin at a second of their own, so that not all end together.
	shift, _ := strconv.ParseInt(event.Uuid[:4], 16, 64)
	now := time.Now().Unix()
	end := now + window - (now+shift)%window
	return Ok[[]Publication, Failure]([]Publication{{
		Due: MakeDueAt(Datetime{Seconds: end}),
		Key: Some(fmt.Sprintf("%s %d", event.Uuid, end)),
	}})
}
