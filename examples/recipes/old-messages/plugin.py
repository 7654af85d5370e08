import json
from datetime import datetime, timezone

from wit_world import exports
from wit_world.imports.types import Due_Now, Event, Publication

OLD = {"person": "employee.employee.refresh", "org_unit": "org_unit.org_unit.refresh"}


class Filter(exports.Filter):
    def subscriptions(self) -> list[str]:
        return list(OLD)

    def route(self, event: Event) -> list[Publication]:
        now = datetime.now(timezone.utc).isoformat()
        body = json.dumps({"uuid": event.uuid, "object_uuid": event.uuid, "time": now}).encode()
        key = OLD[event.topic.object_type]
        return [Publication(exchange=None, routing_key=key, body=body, headers=[], due=Due_Now(), key=None)]
