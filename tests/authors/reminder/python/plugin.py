"""Reminds of changes of engagements on the day before they take effect."""

import json
import logging

import mo_router
from componentize_py_types import Err
from mo_router import Event, Publication
from wit_world.imports import store
from wit_world.imports.types import Datetime, Due_At, Failure_Reject

import schedule

# What MO sends for "no date".
NO_DATE = 253402300799

log = logging.getLogger(__name__)


class Filter(mo_router.Filter):
    def subscriptions(self) -> list[str]:
        return ["employee.engagement.*"]

    def route(self, event: Event) -> list[Publication]:
        hour = store.get("hour") or "8"
        if not (hour.isdecimal() and int(hour) < 24):
            raise Err(Failure_Reject(f"config.hour is {hour}: an hour from 0 to 23 is needed"))
        if event.time is None or event.time.seconds >= NO_DATE:
            log.debug("%s has no date", event.routing_key)
            return []
        day, at = schedule.reminder(event.time.seconds, int(hour))
        body = {
            "effective": day.isoformat(),
            "message": store.get("message") or "A change takes effect tomorrow",
            "uuid": event.uuid,
        }
        return [
            Publication(
                routing_key=f"reminder.{event.routing_key}",
                body=json.dumps(body).encode(),
                due=Due_At(Datetime(seconds=at, nanoseconds=0)),
                key=f"{event.routing_key} {event.object_uuid or event.uuid} {day}",
            )
        ]
