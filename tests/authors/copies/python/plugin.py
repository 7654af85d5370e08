import mo_router
from mo_router import Event, Publication
from wit_world.imports import store


class Filter(mo_router.Filter):
    def subscriptions(self) -> list[str]:
        return ["employee.#"]

    def route(self, event: Event) -> list[Publication]:
        copies = sorted(pair for pair in store.get_all() if pair[0].startswith("copy-"))
        return [Publication(routing_key=key) for _, key in copies]
