import mo_router
from mo_router import Event, Publication


class Filter(mo_router.Filter):
    def subscriptions(self) -> list[str]:
        return ["employee.#"]

    def route(self, event: Event) -> list[Publication]:
        headers = dict(event.headers)
        deaths = headers["deaths"]
        return [
            Publication(
                content_type="text/plain",
                content_encoding="",
                headers=[
                    ("text", "a"),
                    ("count", headers["count"] + 1),
                    ("since", headers["since"]),
                    ("queues", [deaths[0]["queue"], {"n": deaths[0]["count"]}]),
                ],
                priority=event.priority + 1,
                correlation_id=event.message_id,
                expiration="60000",
                timestamp=event.timestamp + 1,
                type=event.type + "!",
            )
        ]
