from componentize_py_types import Err
from wit_world import exports
from wit_world.imports import store
from wit_world.imports.types import Due_Now, Event, Failure_Retry, Publication


class Filter(exports.Filter):
    def subscriptions(self) -> list[str]:
        return ["employee.#"]

    def route(self, event: Event) -> list[Publication]:
        if store.get("hold") == "true":  # [plugin.NAME] config.hold
            raise Err(Failure_Retry("held by config.hold"))
        return [Publication(exchange=None, routing_key=None, body=None, headers=[], due=Due_Now(), key=None)]
