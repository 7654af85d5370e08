package router

import (
	. "go.bytecodealliance.org/pkg/wit/types"
	. "mo-plugin/merge-edits/bindings/imports/os2mo_router_types"
)

// Header is a header to set. Its value is made by MakeValueText("…"), MakeValueInt32(1), and so on.
type Header = Tuple2[string, Value]

// Headers are the headers of an event as Go's values: nil, bool, int64, uint64 (of a timestamp),
// float64, string, []byte, []any, map[string]any, or Decimal.
func Headers(event Event) map[string]any {
	headers := make(map[string]any, len(event.Headers))
	for _, header := range event.Headers {
		headers[header.F0] = plain(header.F1, event.Nested)
	}
	return headers
}

func plain(value Value, nested []Value) any {
	switch value.Tag() {
	case Value_Boolean:
		return value.Boolean()
	case Value_Int8:
		return int64(value.Int8())
	case Value_Int16:
		return int64(value.Int16())
	case Value_Int32:
		return int64(value.Int32())
	case Value_Int64:
		return value.Int64()
	case Value_Uint8:
		return int64(value.Uint8())
	case Value_Uint16:
		return int64(value.Uint16())
	case Value_Uint32:
		return int64(value.Uint32())
	case Value_Float:
		return float64(value.Float())
	case Value_Double:
		return value.Double()
	case Value_Decimal:
		return value.Decimal()
	case Value_Timestamp:
		return value.Timestamp()
	case Value_Text:
		return value.Text()
	case Value_Bytes:
		return value.Bytes()
	case Value_Binary:
		return value.Binary()
	case Value_List:
		list := make([]any, 0, len(value.List()))
		for _, place := range value.List() {
			list = append(list, plain(nested[place], nested))
		}
		return list
	case Value_Table:
		table := make(map[string]any, len(value.Table()))
		for _, entry := range value.Table() {
			table[entry.F0] = plain(nested[entry.F1], nested)
		}
		return table
	}
	return nil
}
