import mo_router
from mo_router import Event, Publication


class Filter(mo_router.Filter):
    def subscriptions(self) -> list[str]:
        return ["*.manager.*", "manager"]

    def route(self, event: Event) -> list[Publication]:
        return [Publication()]
