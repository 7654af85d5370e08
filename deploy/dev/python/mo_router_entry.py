"""What componentize-py builds: the plugin, with what makes its failures readable.

It runs once when the plugin is built, which loads everything that the plugin imports, and then
stands between the router and the plugin: it checks what the plugin answers, says where an exception
comes from, and hands `logging` to the router's log. The plugin itself is `plugin.py`.
"""

import ast
import copy
import importlib
import importlib.util
import os
import sys
import types as python_types
import typing

import componentize_py_types
import mo_router
from mo_router_check import check, fields, shown
from mo_router_headers import plain, typed
from mo_router_log import log_to_the_router
from wit_world import exports
from wit_world.imports import types

# Where componentize-py puts the folders that it is given, in their order.
AUTHORS, PACKAGES = "/0/", "/2/"


def import_what_functions_import() -> None:
    """Imports also what the author's functions import when they run: the files are gone by then."""
    seen: set[str] = set()
    while new := [name for name, module in list(sys.modules.items()) if name not in seen and is_guest(module)]:
        for name in new:
            seen.add(name)
            for wanted in imported_by(sys.modules[name]):
                try:
                    importlib.import_module(wanted)
                except Exception:  # as in `try: import faster`: it fails again where it is used
                    pass


def is_guest(module: object) -> bool:
    return (getattr(module, "__file__", None) or "").startswith((AUTHORS, PACKAGES))


def imported_by(module: python_types.ModuleType) -> typing.Iterator[str]:
    try:
        with open(module.__file__ or "", "rb") as file:
            tree = ast.parse(file.read())
    except (OSError, SyntaxError, ValueError):
        return
    package = module.__package__ or ""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            try:
                base = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
            except ImportError:
                continue
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names if f"{base}.{alias.name}" != base)


def keep_time_zones() -> None:
    """Reads all time zones now: `zoneinfo` looks for files when it is asked."""
    if "zoneinfo" not in sys.modules:
        return
    import io
    import zoneinfo
    import zoneinfo._common

    zones: dict[str, bytes] = {}
    try:
        import importlib.resources
        import tzdata

        root = importlib.resources.files(tzdata) / "zoneinfo"
        names = (importlib.resources.files(tzdata) / "zones").read_text().split()
        zones = {name: root.joinpath(*name.split("/")).read_bytes() for name in names}
    except ImportError:
        pass

    def load_tzdata(key: str) -> io.BytesIO:
        if key in zones:
            return io.BytesIO(zones[key])
        advice = "" if zones else "; add `tzdata` to requirements.txt"
        raise zoneinfo.ZoneInfoNotFoundError(f"there is no time zone {key!r} in the plugin{advice}")

    zoneinfo._common.load_tzdata = load_tzdata
    zoneinfo.available_timezones = lambda: set(zones)


log_to_the_router()
# What the standard library imports when its functions run.
for standard in ("_strptime", "encodings.idna", "encodings.latin_1", "encodings.cp1252", "traceback"):
    importlib.import_module(standard)
import plugin  # noqa: E402

import_what_functions_import()
keep_time_zones()

if not hasattr(plugin, "Filter"):
    raise TypeError("plugin.py has no class Filter with the methods subscriptions and route")


PUBLICATIONS = list[mo_router.Publication]
FAILURE = types.Failure
# Looked up now: it takes the interpreter a while.
fields(mo_router.Publication)


def as_python(event: types.Event) -> mo_router.Event:
    """The event with its headers as Python's values."""
    if event.headers:
        event.headers = [(name, plain(value, event.nested)) for name, value in event.headers]
    # The same fields, of which the author has the types; to copy them takes a while.
    event.__class__ = mo_router.Event
    return event


def as_interface(publication: mo_router.Publication, where: str) -> mo_router.Publication:
    """The publication with its headers in the interface's types. The author's own is left alone."""
    headers = publication.headers
    if not isinstance(headers, (list, tuple)):
        raise TypeError(f"{where}: expected a list of (str, value), got {shown(headers)}")
    if not headers:
        return publication
    converted = copy.copy(publication)
    converted.headers, converted.nested = [], []
    for number, header in enumerate(headers):
        match header:
            case (str(name), value):
                value = typed(value, converted.nested, f"{where}[{number}][1]")
                converted.headers.append((name, value))
            case _:
                raise TypeError(f"{where}[{number}]: expected (str, value), got {shown(header)}")
    return converted


def place(error: BaseException) -> str:
    """The innermost line of the author's in an exception's traceback."""
    found, frame = "", error.__traceback__
    while frame:
        code = frame.tb_frame.f_code
        if code.co_filename.startswith(AUTHORS):
            found = f"{code.co_filename.removeprefix(AUTHORS)}:{frame.tb_lineno}, in {code.co_name}"
        frame = frame.tb_next
    return found


class Filter(exports.Filter):
    def subscriptions(self) -> list[str]:
        try:
            patterns = plugin.Filter().subscriptions()
            check(patterns, list[str], "subscriptions")
            return patterns
        except BaseException as error:
            told(error)
            raise

    def route(self, event: types.Event) -> list[types.Publication]:
        try:
            publications = THE_FILTER.route(as_python(event))
            check(publications, PUBLICATIONS, "publications")
            return [
                as_interface(publication, f"publications[{number}].headers")
                for number, publication in enumerate(publications)
            ]
        except componentize_py_types.Err as failure:
            try:
                check(failure.value, FAILURE, "Err")
            except TypeError as error:
                told(error)
                raise
            raise
        except BaseException as error:
            told(error)
            raise


THE_FILTER = plugin.Filter()


def told(error: BaseException) -> None:
    """Sees to it that the last line of the exception's report is where it comes from."""
    at = place(error)
    if isinstance(error, SystemExit):
        print(f"sys.exit({error.code!r}), at {at}", file=sys.stderr, flush=True)
    elif at:
        error.add_note(f"at {at}")
