import json
import time
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import mo_router
from mo_router import Event, Publication
from wit_world.imports.types import Datetime, Due_At

COPENHAGEN = ZoneInfo("Europe/Copenhagen")  # its data is tzdata, of requirements.txt
NO_DATE = 253402300799  # what MO sends where there is no time


class Filter(mo_router.Filter):
    def subscriptions(self) -> list[str]:
        return ["employee.engagement.*"]

    def route(self, event: Event) -> list[Publication]:
        effect = event.time.seconds if event.time else NO_DATE
        if effect >= NO_DATE or effect <= time.time():
            return []  # nothing lies ahead
        # In Copenhagen, where a day may have 23 or 25 hours.
        day = datetime.fromtimestamp(effect, COPENHAGEN)
        eight = (day - timedelta(days=1)).replace(hour=8, minute=0, second=0, microsecond=0)
        changed = event.object_uuid or event.uuid
        body = {"uuid": event.uuid, "object_uuid": changed, "effective": day.date().isoformat()}
        return [
            Publication(
                routing_key=f"reminder.{event.routing_key}",
                body=json.dumps(body).encode(),
                due=Due_At(Datetime(seconds=int(eight.timestamp()), nanoseconds=0)),
                key=f"{event.routing_key} {changed} {effect}",
            )
        ]
