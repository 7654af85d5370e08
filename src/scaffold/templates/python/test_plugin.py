import unittest

from mo_router import Event, Publication
from router_fakes import logged, reset, settings
from wit_world.imports.logging import Level
from wit_world.imports.types import Topic

import plugin


def route(action: str) -> list[Publication]:
    event = Event(
        routing_key=f"employee.address.{action}",
        topic=Topic(service="employee", object_type="address", action=action),
    )
    return plugin.Filter().route(event)


class PluginTest(unittest.TestCase):
    def setUp(self) -> None:
        reset()

    def test_edits_are_forwarded(self) -> None:
        self.assertEqual(route("edit"), [plugin.FORWARD])

    def test_refreshes_are_dropped(self) -> None:
        self.assertEqual(route("refresh"), [])
        self.assertEqual(logged, [(Level.DEBUG, "plugin", "skipped employee.address.refresh")])

    def test_what_is_skipped_is_a_setting(self) -> None:
        settings["skip"] = "edit terminate"
        self.assertEqual(route("edit"), [])
        self.assertEqual(route("refresh"), [plugin.FORWARD])
