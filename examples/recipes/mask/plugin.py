import json

from componentize_py_types import Err
from wit_world import exports
from wit_world.imports.types import Due_Now, Event, Failure_Reject, Publication

PUBLIC = {"uuid", "time"}


class Filter(exports.Filter):
    def subscriptions(self) -> list[str]:
        return ["employee.*.*"]

    def route(self, event: Event) -> list[Publication]:
        try:
            body = json.loads(event.body)
        except ValueError as error:
            raise Err(Failure_Reject(f"the body is not JSON: {error}"))
        public = json.dumps({name: value for name, value in body.items() if name in PUBLIC}).encode()
        return [Publication(exchange=None, routing_key=None, body=public, headers=[], due=Due_Now(), key=None)]
