import json
from datetime import datetime, timezone

import mo_router
from mo_router import Event, Publication

OLD = {"person": "employee.employee.refresh", "org_unit": "org_unit.org_unit.refresh"}


class Filter(mo_router.Filter):
    def subscriptions(self) -> list[str]:
        return list(OLD)

    def route(self, event: Event) -> list[Publication]:
        now = datetime.now(timezone.utc).isoformat()
        body = json.dumps({"uuid": event.uuid, "object_uuid": event.uuid, "time": now}).encode()
        key = OLD[event.topic.object_type]
        return [Publication(routing_key=key, body=body)]
