import json

import mo_router
from componentize_py_types import Err
from mo_router import Event, Publication
from wit_world.imports.types import Failure_Reject

PUBLIC = {"uuid", "time"}


class Filter(mo_router.Filter):
    def subscriptions(self) -> list[str]:
        return ["employee.*.*"]

    def route(self, event: Event) -> list[Publication]:
        try:
            body = json.loads(event.body)
        except ValueError as error:
            raise Err(Failure_Reject(f"the body is not JSON: {error}"))
        public = json.dumps({name: value for name, value in body.items() if name in PUBLIC}).encode()
        return [Publication(body=public)]
