import json
import unittest

from componentize_py_types import Err
from mo_router import Event, Publication
from router_fakes import logged, reset, settings
from wit_world.imports.types import Datetime, Due_At, Topic

import plugin
import schedule


def route(time: int) -> list[Publication]:
    event = Event(
        routing_key="employee.engagement.create",
        topic=Topic(service="employee", object_type="engagement", action="create"),
        uuid="person",
        time=Datetime(seconds=time, nanoseconds=0),
    )
    return plugin.Filter().route(event)


class ReminderTest(unittest.TestCase):
    def setUp(self) -> None:
        reset()

    def test_eight_is_an_hour_earlier_in_summer(self) -> None:
        for effective, day, at in [
            (1711839600, "2024-03-31", 1711782000),
            (1711922400, "2024-04-01", 1711864800),
            (1729980000, "2024-10-27", 1729922400),
            (1730070000, "2024-10-28", 1730012400),
        ]:
            found = schedule.reminder(effective, 8)
            self.assertEqual((found[0].isoformat(), found[1]), (day, at))

    def test_a_change_is_announced(self) -> None:
        settings["message"] = "tomorrow"
        (reminder,) = route(1711922400)
        assert reminder.body
        expected = {"effective": "2024-04-01", "message": "tomorrow", "uuid": "person"}
        self.assertEqual(json.loads(reminder.body), expected)
        self.assertEqual(reminder.due, Due_At(Datetime(1711864800, 0)))

    def test_what_has_no_date_is_not(self) -> None:
        self.assertEqual(route(plugin.NO_DATE), [])
        self.assertEqual([message for _, _, message in logged], ["employee.engagement.create has no date"])

    def test_an_hour_is_needed(self) -> None:
        settings["hour"] = "24"
        with self.assertRaises(Err):
            route(1711922400)
