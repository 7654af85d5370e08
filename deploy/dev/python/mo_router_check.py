"""Checks what a plugin answers against the interface's types, all the way down.

The runtime converts what it gets without a word: what it cannot convert ends the interpreter, and a
number that does not fit becomes another one.
"""

import dataclasses
import functools
import types as python_types
import typing

import mo_router
from wit_world.imports import types


def signed(bits: int) -> range:
    return range(-(1 << (bits - 1)), 1 << (bits - 1))


def unsigned(bits: int) -> range:
    return range(1 << bits)


#: What an integer can be: the interface has several types, Python has one.
RANGES: dict[tuple[type, str], range] = {
    (mo_router.Publication, "priority"): unsigned(8),
    (mo_router.Publication, "timestamp"): unsigned(64),
    (types.Datetime, "seconds"): signed(64),
    (types.Datetime, "nanoseconds"): range(1_000_000_000),
    (types.Due_After, "value"): unsigned(64),
    (types.Decimal, "scale"): unsigned(8),
    (types.Decimal, "digits"): unsigned(32),
    (types.Value_Int8, "value"): signed(8),
    (types.Value_Int16, "value"): signed(16),
    (types.Value_Int32, "value"): signed(32),
    (types.Value_Int64, "value"): signed(64),
    (types.Value_Uint8, "value"): unsigned(8),
    (types.Value_Uint16, "value"): unsigned(16),
    (types.Value_Uint32, "value"): unsigned(32),
    (types.Value_Timestamp, "value"): unsigned(64),
}


def shown(value: object) -> str:
    text = repr(value)
    return f"{type(value).__name__} {text[:60]}{'…' * (len(text) > 60)}"


def readable(text: str) -> str:
    """The text with `?` for what stands for bytes that could not be read: it is no UTF-8, which ends
    the interpreter."""
    return text.encode(errors="replace").decode()


def expectation(kind: object) -> str:
    """A type's name, as an author would write it."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind is mo_router.Publication:
        return "mo_router.Publication"  # not that of wit_world.imports.types
    if origin in (typing.Union, python_types.UnionType):
        return " or ".join(expectation(argument) for argument in arguments)
    if origin is list:
        return f"a list of {expectation(arguments[0])}"
    if origin is tuple:
        return f"({', '.join(expectation(argument) for argument in arguments)})"
    return "None" if kind is type(None) else getattr(kind, "__name__", str(kind))


class Field(typing.NamedTuple):
    """A field of a record."""

    name: str
    kind: object
    optional: bool
    numbers: range | None


@functools.cache
def fields(kind: type) -> list[Field]:
    """A record's fields; looked up once, because that takes a while. Headers are checked where they
    are converted."""
    if not dataclasses.is_dataclass(kind):
        return []
    hints = typing.get_type_hints(kind)
    return [
        Field(name, hints[name], type(None) in typing.get_args(hints[name]), RANGES.get((kind, name)))
        for name in names(kind)
        if name != "headers"
    ]


@functools.cache
def names(kind: type) -> list[str]:
    return [field.name for field in dataclasses.fields(kind)]


def check(value: object, kind: object, where: str) -> None:
    """Raises a TypeError that names the field, if the value is not of this type."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, python_types.UnionType):
        fitting = [argument for argument in arguments if type(value) is argument]
        if fitting:
            return check(value, fitting[0], where)
        others = [argument for argument in arguments if argument is not type(None)]
        if len(others) == 1 and value is not None:
            return check(value, others[0], where)
    elif origin is list and isinstance(value, list):
        for number, item in enumerate(value):
            check(item, arguments[0], f"{where}[{number}]")
        return None
    elif origin is tuple and isinstance(value, tuple) and len(value) == len(arguments):
        for number, (item, argument) in enumerate(zip(value, arguments)):
            check(item, argument, f"{where}[{number}]")
        return None
    elif kind is int and isinstance(value, int) and not isinstance(value, bool):
        return None
    elif kind is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        return None
    elif kind is str and isinstance(value, str):
        return check_text(value, where)
    elif isinstance(kind, type) and kind is not int and isinstance(value, kind):
        return check_fields(value, kind, where)
    raise TypeError(f"{where}: expected {expectation(kind)}, got {shown(value)}")


def check_text(value: str, where: str) -> None:
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise TypeError(
            f"{where}: {shown(value)} is no text that can be sent, because of {value[error.start]!r}: "
            "value.encode(errors='replace').decode() has a ? in its place"
        ) from None


def check_fields(value: object, kind: type, where: str) -> None:
    for field in fields(kind):
        content = getattr(value, field.name)
        if content is None and field.optional:
            continue
        check(content, field.kind, f"{where}.{field.name}")
        if field.numbers is not None and content not in field.numbers:
            least, most = field.numbers[0], field.numbers.stop - 1
            raise TypeError(
                f"{where}.{field.name}: expected a number from {least} to {most}, got {shown(content)}"
            )
    # Python takes any name that is assigned to. A class of the author's may have more.
    if type(value) is kind and dataclasses.is_dataclass(kind) and len(vars(value)) > len(names(kind)):
        for name in vars(value):
            if name not in names(kind):
                raise TypeError(f"{where}.{name}: there is no such field; {advice(name, names(kind))}")


def advice(name: str, known: list[str]) -> str:
    snake = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)
    return f"did you mean {snake}?" if snake in known else f"it can have {', '.join(known)}"
