"""What componentize-py builds: the plugin, with what makes its failures readable.

It runs once when the plugin is built, which loads everything that the plugin imports, and then
stands between the router and the plugin: it checks what the plugin answers, says where an exception
comes from, and hands `logging` to the router's log. The plugin itself is `plugin.py`.
"""

import mo_router_sources  # noqa: F401, I001 - first of all

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
import mo_router_build
from mo_router_build import Build, NotWhileBuilding
from mo_router_check import check, check_text, fields, readable, shown
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
            for wanted, line in imported_by(sys.modules[name]):
                try:
                    importlib.import_module(wanted)
                except NotWhileBuilding:
                    raise
                except Exception as error:  # as in `try: import faster`: it fails again where it is used
                    native = mo_router_build.missing_native(error)
                    if native and line:
                        file = (sys.modules[name].__file__ or "").removeprefix(AUTHORS)
                        raise ImportError(
                            f'"{file}", line {line}, imports {wanted}, which fails in the plugin: '
                            f"{native} is native code, which cannot run in WebAssembly"
                        ) from None


def is_guest(module: object) -> bool:
    return (getattr(module, "__file__", None) or "").startswith((AUTHORS, PACKAGES))


def imported_by(module: python_types.ModuleType) -> typing.Iterator[tuple[str, int]]:
    """What a module imports anywhere in it, and the line where a function of the author's cannot do
    without it, or 0."""
    try:
        with open(module.__file__ or "", "rb") as file:
            tree = ast.parse(file.read())
    except (OSError, SyntaxError, ValueError):
        return
    package = module.__package__ or ""
    needed = needed_in_functions(tree) if (module.__file__ or "").startswith(AUTHORS) else set()
    for node in ast.walk(tree):
        line = getattr(node, "lineno", 0) if node in needed else 0
        if isinstance(node, ast.Import):
            yield from ((alias.name, line) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            try:
                base = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
            except ImportError:
                continue
            yield base, line
            yield from ((f"{base}.{alias.name}", line) for alias in node.names)


def needed_in_functions(tree: ast.AST) -> set[ast.AST]:
    """The imports inside functions, but for those that are tried, which may fail, and those under a
    condition, which need not run. Those outside of functions have run."""
    functions = [node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]
    tried = [part for node in ast.walk(tree) if is_tried(node) for part in node.body]
    return {node for function in functions for node in ast.walk(function)} - {
        node for part in tried for node in ast.walk(part)
    }


def is_tried(node: ast.AST) -> bool:
    if isinstance(node, ast.If):
        return True
    if isinstance(node, ast.With):
        return any("suppress(" in ast.unparse(item.context_expr) for item in node.items)
    return isinstance(node, ast.Try) and bool(node.handlers)


def keep_time_zones() -> None:
    """Reads all time zones now: what knows them looks for files when it is asked."""
    if "zoneinfo" in sys.modules:
        keep_those_of_zoneinfo()
    if "dateutil.tz" in sys.modules:
        keep_those_of_dateutil()
    if "pytz" in sys.modules:
        keep_those_of_pytz()


def keep_those_of_dateutil() -> None:
    """Asked for a zone whose file is gone, dateutil gives none, and times without one."""
    import io

    try:
        from dateutil import _tzdata_impl
    except ImportError:  # dateutil 2, which brings its zones in one archive
        importlib.import_module("dateutil.zoneinfo").get_zonefile_instance()
        return
    zones = {}
    for key in _tzdata_impl._load_tzdata_keys():
        with _tzdata_impl._load_tzdata(key) as file:
            zones[key] = file.read()
    otherwise = _tzdata_impl._load_tzdata
    _tzdata_impl._load_tzdata = lambda key: io.BytesIO(zones[key]) if key in zones else otherwise(key)
    _tzdata_impl._load_tzdata_keys = lambda: list(zones)


def keep_those_of_pytz() -> None:
    import io
    import pytz

    files = {}
    for name in (*pytz._all_timezones_unchecked, "zone.tab", "iso3166.tab"):
        try:
            with pytz.open_resource(name) as file:
                files[name] = file.read()
        except OSError:
            pass

    def open_resource(name: str) -> io.BytesIO:
        if name not in files:
            raise FileNotFoundError(f"pytz has no file {name!r} in the plugin")
        return io.BytesIO(files[name])

    pytz.open_resource = open_resource


def keep_those_of_zoneinfo() -> None:
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


mo_router_build.begin()
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
                check_text(name, f"{where}[{number}][0]")
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
            patterns = the_filter().subscriptions()
            check(patterns, list[str], "subscriptions")
            return patterns
        except BaseException as error:
            told(error)
            raise

    def route(self, event: types.Event) -> list[types.Publication]:
        try:
            publications = the_filter().route(as_python(event))
            check(publications, PUBLICATIONS, "publications")
            return [
                as_interface(publication, f"publications[{number}].headers")
                for number, publication in enumerate(publications)
            ]
        except componentize_py_types.Err as failure:
            try:
                if isinstance(reason := getattr(failure.value, "value", None), str):
                    failure.value.value = readable(reason)
                check(failure.value, FAILURE, "Err")
            except TypeError as error:
                told(error)
                raise
            raise
        except BaseException as error:
            told(error)
            raise


def the_filter() -> mo_router.Filter:
    """The author's: made when the plugin is built, or, if that reads settings, at the first call."""
    global THE_FILTER
    if THE_FILTER is None:
        THE_FILTER = plugin.Filter()
    return THE_FILTER


THE_FILTER: mo_router.Filter | None = None
try:
    the_filter()
except NotWhileBuilding:
    pass
Build.is_going_on = False


def told(error: BaseException) -> None:
    """Sees to it that the last line of the exception's report is where it comes from."""
    at = place(error)
    if isinstance(error, SystemExit):
        print(f"sys.exit({error.code!r}), at {at}", file=sys.stderr, flush=True)
    elif at:
        error.add_note(f"at {at}")
