"""Lets events about managers pass, and of those the wanted actions."""

from componentize_py_types import Err
from wit_world import exports
from wit_world.imports import store
from wit_world.imports.types import Due_Now, Event, Failure_Reject, Failure_Retry, Publication

FORWARD = Publication(exchange=None, routing_key=None, body=None, headers=[], due=Due_Now(), key=None)


class Filter(exports.Filter):
    def subscriptions(self) -> list[str]:
        return ["*.manager.*"]

    def route(self, event: Event) -> list[Publication]:
        # `config.hold = "true"` is for when the consumers are being serviced.
        if store.get("hold") == "true":
            raise Err(Failure_Retry("held by config.hold"))
        if event.object_uuid is None:
            raise Err(Failure_Reject("does not say which manager: no object_uuid"))
        return [FORWARD] if event.topic.action in wanted_actions() else []


def wanted_actions() -> list[str]:
    """The words of `config.actions`."""
    return (store.get("actions") or "create edit terminate").split()
