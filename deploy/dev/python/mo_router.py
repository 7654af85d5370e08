"""Events and publications as a plugin in Python has them.

They are the records of `wit/router.wit` with two differences: every field has a default, and headers
are Python's own values, also in lists and tables. What else there is comes from
`wit_world.imports.types`: `Due_At`, `Datetime`, `Failure_Retry`, …
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Protocol, Union

from wit_world.imports import types

#: The value of a header. An int is AMQP's of 32 bits, or of 64 if it needs them; bytes are a byte
#: array. Any other type of AMQP's is one of `types.Value_*`: `types.Value_Timestamp(0)`.
Header = Union[None, bool, int, float, str, bytes, Sequence["Header"], Mapping[str, "Header"], types.Value]


@dataclass
class Event:
    """One event of MO, as it arrived. The defaults are for unit tests."""

    exchange: str = ""
    routing_key: str = ""
    topic: types.Topic = field(default_factory=lambda: types.Topic(None, "", None))
    uuid: str = ""
    object_uuid: str | None = None
    time: types.Datetime | None = None
    body: bytes = b""
    content_type: str | None = None
    content_encoding: str | None = None
    headers: list[tuple[str, Header]] = field(default_factory=list)
    priority: int | None = None
    correlation_id: str | None = None
    reply_to: str | None = None
    expiration: str | None = None
    message_id: str | None = None
    timestamp: int | None = None
    type: str | None = None
    app_id: str | None = None
    redelivered: bool = False
    attempt: int = 1


@dataclass
class Publication:
    """One message to publish; `Publication()` is the event itself, unchanged, at once."""

    exchange: str | None = None
    routing_key: str | None = None
    body: bytes | None = None
    content_type: str | None = None
    content_encoding: str | None = None
    headers: Sequence[tuple[str, Header]] = field(default_factory=list)
    priority: int | None = None
    correlation_id: str | None = None
    reply_to: str | None = None
    expiration: str | None = None
    timestamp: int | None = None
    type: str | None = None
    app_id: str | None = None
    due: types.Due = field(default_factory=types.Due_Now)
    key: str | None = None

    #: What the router reads beside the fields; `mo_router_entry` fills it.
    nested: ClassVar[list[types.Value]] = []


class Filter(Protocol):
    """What a plugin is: its class `Filter` in plugin.py."""

    def subscriptions(self) -> list[str]: ...

    def route(self, event: Event) -> list[Publication]: ...
