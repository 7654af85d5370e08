import unittest

from mo_router import Event, Publication
from router_fakes import reset, settings

import plugin


class CopiesTest(unittest.TestCase):
    def test_copies_are_settings(self) -> None:
        reset()
        self.assertEqual(plugin.Filter().route(Event()), [])
        settings.update({"copy-b": "two", "other": "", "copy-a": "one"})
        both = [Publication(routing_key="one"), Publication(routing_key="two")]
        self.assertEqual(plugin.Filter().route(Event()), both)
