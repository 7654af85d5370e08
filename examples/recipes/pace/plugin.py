import time

import mo_router
from mo_router import Event, Publication
from wit_world.imports.types import Datetime, Due_At

PAUSE = 30  # seconds


class Filter(mo_router.Filter):
    free_at = 0.0  # when the next message may leave; kept between events

    def subscriptions(self) -> list[str]:
        return ["employee.it.*"]

    def route(self, event: Event) -> list[Publication]:
        due = max(time.time(), Filter.free_at)
        Filter.free_at = due + PAUSE
        due_at = Due_At(Datetime(seconds=int(due), nanoseconds=int(due % 1 * 1e9)))
        return [Publication(due=due_at)]
