"""Headers, between the interface's types and Python's.

The interface has what is in a list or a table beside the headers, in `nested`: WIT has no types that
contain themselves.
"""

import typing
from collections.abc import Mapping, Sequence

from mo_router import Header
from mo_router_check import check, check_text, shown
from wit_world.imports import types

#: The types whose values Python does not have are left as they are.
TYPED = (types.Value_Decimal, types.Value_Timestamp)
LISTS = (types.Value_List, types.Value_Table)
SCALARS = tuple(kind for kind in typing.get_args(types.Value) if kind not in LISTS)
INT32, INT64 = range(-(1 << 31), 1 << 31), range(-(1 << 63), 1 << 63)


def plain(value: types.Value, nested: list[types.Value]) -> Header:
    """A header's value of an event as Python's."""
    if isinstance(value, types.Value_List):
        return [plain(nested[place], nested) for place in value.value]
    if isinstance(value, types.Value_Table):
        return {name: plain(nested[place], nested) for name, place in value.value}
    if isinstance(value, types.Value_Null):
        return None
    return value if isinstance(value, TYPED) else value.value


def typed(value: object, nested: list[types.Value], where: str) -> types.Value:
    """A header's value of a publication in the interface's types; what is in it goes into `nested`."""
    if isinstance(value, str):
        check_text(value, where)
        return types.Value_Text(value)
    if value is None:
        return types.Value_Null()
    if isinstance(value, bool):
        return types.Value_Boolean(value)
    if isinstance(value, int):
        if value in INT32:
            return types.Value_Int32(value)
        if value in INT64:
            return types.Value_Int64(value)
        raise TypeError(f"{where}: {value} does not fit 64 bits: send it as a str")
    if isinstance(value, float):
        return types.Value_Double(value)
    if isinstance(value, bytes):
        return types.Value_Binary(value)
    if isinstance(value, SCALARS):
        check(value, type(value), where)
        return value
    if isinstance(value, Mapping):
        for name in value:
            if not isinstance(name, str):
                raise TypeError(f"{where}: expected str as the names of a table, got {shown(name)}")
            check_text(name, f"{where}, a name")
        return types.Value_Table(
            [(name, put(item, nested, f"{where}[{name!r}]")) for name, item in value.items()]
        )
    if isinstance(value, Sequence) and not isinstance(value, bytearray):
        return types.Value_List([put(item, nested, f"{where}[{n}]") for n, item in enumerate(value)])
    raise TypeError(
        f"{where}: expected None, bool, int, float, str, bytes, a list, a dict or types.Value_*, got {shown(value)}"
    )


def put(value: object, nested: list[types.Value], where: str) -> int:
    inner = typed(value, nested, where)
    nested.append(inner)
    return len(nested) - 1
