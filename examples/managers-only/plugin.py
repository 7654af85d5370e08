"""Lets events about managers pass, and of those the wanted actions."""

import mo_router
from componentize_py_types import Err
from mo_router import Event, Publication
from wit_world.imports import store
from wit_world.imports.types import Failure_Reject, Failure_Retry

FORWARD = Publication()


class Filter(mo_router.Filter):
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
