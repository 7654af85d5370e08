"""Forwards what happens to employees, but not what is only refreshed."""

import logging

import mo_router
from mo_router import Event, Publication
from wit_world.imports import store

FORWARD = Publication()

log = logging.getLogger(__name__)


class Filter(mo_router.Filter):
    def subscriptions(self) -> list[str]:
        return ["employee.#"]

    def route(self, event: Event) -> list[Publication]:
        # `config.skip` has the actions that are not forwarded.
        if event.topic.action in (store.get("skip") or "refresh").split():
            log.debug("skipped %s", event.routing_key)
            return []
        return [FORWARD]
