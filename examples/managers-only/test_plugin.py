import unittest
from unittest.mock import patch

from componentize_py_types import Err
from mo_router import Event
from wit_world.imports import store
from wit_world.imports.types import Failure_Reject, Failure_Retry, Topic

import plugin


def event(action: str, object_uuid: str | None = "9b1d2f5c-0000-4000-8000-000000000001") -> Event:
    return Event(
        routing_key=f"org_unit.manager.{action}",
        topic=Topic(service="org_unit", object_type="manager", action=action),
        object_uuid=object_uuid,
    )


class ManagersOnly(unittest.TestCase):
    def setUp(self):
        self.settings = {}
        self.enterContext(patch.object(store, "get", self.settings.get))
        self.route = plugin.Filter().route

    def test_forwards_a_manager(self):
        self.assertEqual(self.route(event("edit")), [plugin.FORWARD])

    def test_drops_other_actions(self):
        self.assertEqual(self.route(event("refresh")), [])

    def test_the_actions_are_a_setting(self):
        self.settings["actions"] = "refresh"
        self.assertEqual(self.route(event("refresh")), [plugin.FORWARD])
        self.assertEqual(self.route(event("edit")), [])

    def test_holds_while_told_to(self):
        self.settings["hold"] = "true"
        with self.assertRaises(Err) as raised:
            self.route(event("edit"))
        self.assertIsInstance(raised.exception.value, Failure_Retry)

    def test_rejects_what_names_no_manager(self):
        with self.assertRaises(Err) as raised:
            self.route(event("edit", object_uuid=None))
        self.assertIsInstance(raised.exception.value, Failure_Reject)
