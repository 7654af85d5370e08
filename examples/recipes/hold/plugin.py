import mo_router
from componentize_py_types import Err
from mo_router import Event, Publication
from wit_world.imports import store
from wit_world.imports.types import Failure_Retry


class Filter(mo_router.Filter):
    def subscriptions(self) -> list[str]:
        return ["employee.#"]

    def route(self, event: Event) -> list[Publication]:
        if store.get("hold") == "true":  # [plugin.NAME] config.hold
            raise Err(Failure_Retry("held by config.hold"))
        return [Publication()]
