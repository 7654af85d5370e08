import unittest

from wit_world.imports.types import Event, Topic

import plugin


def route(action: str):
    event = Event(
        exchange="os2mo",
        routing_key=f"employee.address.{action}",
        topic=Topic(service="employee", object_type="address", action=action),
        uuid="1469208d-6867-4c28-9c26-ea10cdc85a5b",
        object_uuid=None,
        time=None,
        body=b"{}",
        content_type=None,
        headers=[],
        redelivered=False,
        attempt=1,
    )
    return plugin.Filter().route(event)


class PluginTest(unittest.TestCase):
    def test_edits_are_forwarded(self):
        self.assertEqual(route("edit"), [plugin.FORWARD])

    def test_refreshes_are_dropped(self):
        self.assertEqual(route("refresh"), [])
