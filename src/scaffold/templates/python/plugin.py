"""Forwards what happens to employees, but not what is only refreshed."""

from wit_world import exports
from wit_world.imports.types import Due_Now, Event, Publication

FORWARD = Publication(exchange=None, routing_key=None, body=None, headers=[], due=Due_Now(), key=None)


class Filter(exports.Filter):
    def subscriptions(self) -> list[str]:
        return ["employee.#"]

    def route(self, event: Event) -> list[Publication]:
        return [] if event.topic.action == "refresh" else [FORWARD]
