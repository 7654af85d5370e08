from datetime import datetime, timedelta, timezone

import mo_router
from mo_router import Event, Publication
from wit_world.imports import store
from wit_world.imports.types import Datetime, Due_At


def ahead_of_utc(moment: datetime) -> timedelta:
    """Copenhagen's offset: summer is from the last Sunday in March to the last in October, 01:00 UTC."""

    def last_sunday(month: int) -> datetime:
        day = datetime(moment.year, month, 31, 1, tzinfo=timezone.utc)
        return day - timedelta(days=day.isoweekday() % 7)

    return timedelta(hours=2 if last_sunday(3) <= moment < last_sunday(10) else 1)


def next_open(now: datetime, opens: int, closes: int) -> datetime:
    """Now, if it is between the hours of a working day; otherwise when it opens next."""
    local = now + ahead_of_utc(now)
    if local.isoweekday() <= 5 and opens <= local.hour < closes:
        return now
    day = local.replace(hour=opens, minute=0, second=0, microsecond=0)
    while day <= local or day.isoweekday() > 5:
        day += timedelta(days=1)
    return day - ahead_of_utc(day)


class Filter(mo_router.Filter):
    def subscriptions(self) -> list[str]:
        return ["employee.#"]

    def route(self, event: Event) -> list[Publication]:
        opens, closes = int(store.get("opens") or 8), int(store.get("closes") or 16)
        due = int(next_open(datetime.now(timezone.utc), opens, closes).timestamp())
        due_at = Due_At(Datetime(seconds=due, nanoseconds=0))
        return [Publication(due=due_at)]
