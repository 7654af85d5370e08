"""Forwards what happens to employees, but not what is only refreshed."""

import logging

from wit_world import exports
from wit_world.imports import store
from wit_world.imports.types import Due_Now, Event, Publication

FORWARD = Publication(exchange=None, routing_key=None, body=None, headers=[], due=Due_Now(), key=None)

log = logging.getLogger(__name__)


class Filter(exports.Filter):
    def subscriptions(self) -> list[str]:
        return ["employee.#"]

    def route(self, event: Event) -> list[Publication]:
        # `config.skip` has the actions that are not forwarded.
        if event.topic.action in (store.get("skip") or "refresh").split():
            log.debug("skipped %s", event.routing_key)
            return []
        return [FORWARD]
