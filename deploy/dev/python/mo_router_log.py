"""Python's `logging` in the router's log: in the plugin, and in unit tests, where it is a fake."""

import logging

from mo_router_check import readable
from wit_world.imports import logging as router_log


class RouterLog(logging.Handler):
    """Python's log, at its levels, in the router's."""

    LEVELS = (
        (logging.CRITICAL, router_log.Level.CRITICAL),
        (logging.ERROR, router_log.Level.ERROR),
        (logging.WARNING, router_log.Level.WARN),
        (logging.INFO, router_log.Level.INFO),
        (logging.DEBUG, router_log.Level.DEBUG),
    )

    def emit(self, record: logging.LogRecord) -> None:
        levels = (level for least, level in self.LEVELS if record.levelno >= least)
        message = readable(self.format(record))
        router_log.log(next(levels, router_log.Level.TRACE), readable(record.name), message)


def log_to_the_router() -> None:
    logging.root.handlers[:] = [RouterLog()]
    logging.root.setLevel(logging.NOTSET)  # the router has the level, for each plugin
