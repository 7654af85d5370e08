"""What is different while a plugin is built: there is no router to ask, and the files are still there.

componentize-py cannot call what the router provides. Without this it would end the build, and not say
whose line asked.
"""

import sys
import typing

# Modules of the packages whose native code was taken out, as they are imported: `orjson.orjson`.
from mo_router_native import MODULES as NATIVE
from wit_world.imports import logging, store


class NotWhileBuilding(BaseException):
    """The plugin asked for what only the router has. No `except Exception` takes it for a setting that
    is missing: what it puts in its place would be kept for good."""


class Build:
    """Whether the plugin is being built; what it is then stays in its file."""

    is_going_on = True


def unless_building[**Arguments, Answer](
    of_the_router: typing.Callable[Arguments, Answer], instead: typing.Callable[Arguments, Answer]
) -> typing.Callable[Arguments, Answer]:
    def call(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Answer:
        return (instead if Build.is_going_on else of_the_router)(*args, **kwargs)

    return call


def no_settings(*key: str) -> typing.NoReturn:
    what = f"the setting {key[0]!r} is" if key else "settings are"
    raise NotWhileBuilding(
        f"{what} not there while the plugin is built, when what stands outside of functions runs: "
        "read settings in route, or in __init__ of Filter and keep them"
    )


def log_to_the_build(level: logging.Level, context: str, message: str) -> None:
    print(f"{level.name} {context}: {message}", file=sys.stderr)


def begin() -> None:
    """Before the plugin is imported, which may keep these functions under names of its own."""
    store.get = unless_building(store.get, no_settings)
    store.get_all = unless_building(store.get_all, no_settings)
    logging.log = unless_building(logging.log, log_to_the_build)


def missing_native(error: BaseException | None) -> str | None:
    """The native module, if it is for want of one that an import failed."""
    while error:
        if isinstance(error, ImportError) and error.name in NATIVE:
            return error.name
        error = error.__cause__ or error.__context__
    return None
