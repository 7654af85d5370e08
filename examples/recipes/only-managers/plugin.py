from wit_world import exports
from wit_world.imports.types import Due_Now, Event, Publication


class Filter(exports.Filter):
    def subscriptions(self) -> list[str]:
        return ["*.manager.*", "manager"]

    def route(self, event: Event) -> list[Publication]:
        return [Publication(exchange=None, routing_key=None, body=None, headers=[], due=Due_Now(), key=None)]
