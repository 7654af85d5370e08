"""When to remind of a change."""

from datetime import date, datetime
from zoneinfo import ZoneInfo

from dateutil.relativedelta import relativedelta

COPENHAGEN = ZoneInfo("Europe/Copenhagen")


def reminder(effective: int, hour: int) -> tuple[date, int]:
    """The day on which a change takes effect in Denmark, and this hour of the day before."""
    day = datetime.fromtimestamp(effective, COPENHAGEN).date()
    before = day - relativedelta(days=1)
    at = datetime(before.year, before.month, before.day, hour, tzinfo=COPENHAGEN)
    return day, int(at.timestamp())
