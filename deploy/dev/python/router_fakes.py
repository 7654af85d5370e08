"""What the router provides to a plugin, for unit tests.

Importing it replaces the functions of `wit_world.imports.store` and `.logging`, which exist only
inside the router, and sends Python's `logging` there, as in the plugin. Import it before the plugin,
and fill `settings`:

    from router_fakes import logged, settings
"""

from mo_router_log import log_to_the_router as _log_to_the_router
from wit_world.imports import logging as _logging
from wit_world.imports import store as _store

#: The plugin's settings, `[plugin.NAME] config.*`.
settings: dict[str, str] = {}
#: What the plugin has logged: level, context, message.
logged: list[tuple[_logging.Level, str, str]] = []


def _get(key: str) -> str | None:
    return settings.get(key)


def _get_all() -> list[tuple[str, str]]:
    return list(settings.items())


def _log(level: _logging.Level, context: str, message: str) -> None:
    logged.append((level, context, message))


_store.get = _get
_store.get_all = _get_all
_logging.log = _log
_log_to_the_router()


def reset() -> None:
    """Forgets all settings and what was logged: for `setUp`."""
    settings.clear()
    logged.clear()
