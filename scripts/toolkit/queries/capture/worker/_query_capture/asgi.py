"""Makes a unit of each request, named by the route that serves it."""

import asyncio
import contextlib
import functools
import inspect
import re
import time
from collections.abc import Callable, Coroutine, MutableMapping
from contextvars import Token
from types import ModuleType
from typing import Any
from urllib.parse import unquote

from . import connections, places, records, units
from .foreign import Foreign

Scope = MutableMapping[str, Any]
Call = Callable[..., Coroutine[Any, Any, Any]]

UNIT = "query_capture.unit"
_IDENTIFIER = re.compile(r"\d+|[0-9a-f]{8}-[0-9a-f-]{27}|[0-9a-f]{24,}", re.IGNORECASE)


def wrap_application(module: ModuleType) -> None:
    """Every Starlette and FastAPI application is a place where requests begin."""
    serve = module.Starlette.__call__

    async def __call__(self: Foreign, scope: Scope, receive: Foreign, send: Foreign) -> None:
        if scope["type"] not in ("http", "websocket") or UNIT in scope:
            await serve(self, scope, receive, send)
            return
        unit, token = _begin(scope)
        try:
            await serve(self, scope, receive, _watched(send, unit))
        except BaseException as error:
            unit.error = error
            raise
        finally:
            _end(unit, token)

    module.Starlette.__call__ = __call__


def wrap_router(module: ModuleType) -> None:
    """A middleware may have copied the scope; the router's is the one that knows the route."""
    serve = module.Router.__call__

    # Not a coroutine of its own: it would be one more to step through at each await.
    def __call__(self: Foreign, scope: Scope, receive: Foreign, send: Foreign) -> Foreign:
        unit = scope.get(UNIT)
        if unit is not None:
            unit.scope = scope
        return serve(self, scope, receive, send)

    __call__._is_coroutine = getattr(asyncio.coroutines, "_is_coroutine", None)  # type: ignore[attr-defined]
    if hasattr(inspect, "markcoroutinefunction"):
        __call__ = inspect.markcoroutinefunction(__call__)
    module.Router.__call__ = __call__


async def watch(serve: Call, scope: Scope, receive: Foreign, send: Foreign) -> None:
    """The same for an application that is not Starlette's."""
    if scope["type"] not in ("http", "websocket") or UNIT in scope:
        await serve(scope, receive, send)
        return
    unit, token = _begin(scope)
    try:
        await serve(scope, receive, _watched(send, unit))
    except BaseException as error:
        unit.error = error
        raise
    finally:
        _end(unit, token)


def _begin(scope: Scope) -> "tuple[units.Unit, Token[units.Unit | None]]":
    """A request of its own; an application inside of another adds none."""
    test = units.current_test()
    # Its route is known at its end.
    name = f"{scope.get('method', 'WS')} {scope.get('path', '')}"
    unit = units.Unit("request", name, test.name if test else None)
    scope[UNIT] = unit
    unit.scope = scope
    return unit, units.request.set(unit)


def _watched(send: Foreign, unit: units.Unit) -> Foreign:
    """`send`, from which the status is read and when the answer was complete."""

    async def sending(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            unit.status = message["status"]
        await send(message)
        if message["type"] == "http.response.body" and not message.get("more_body"):
            unit.answered = time.perf_counter()

    return sending


def _end(unit: units.Unit, token: "Token[units.Unit | None]") -> None:
    ended = unit.answered or time.perf_counter()
    records.guarded(_finish)(unit, (ended - unit.began) * 1000)
    # Closed by the garbage collector, it ends in another context.
    with contextlib.suppress(ValueError):
        units.request.reset(token)


def _finish(unit: units.Unit, ms: float) -> None:
    """Events `left-open` (connections.py) and `blocking-driver`, whose data is `statements`."""
    connections.note_left_open(unit)
    count, frames = unit.sync_statements
    if count:
        units.event("blocking-driver", unit, frames, {"statements": count})
    scope = unit.scope
    unit.finish(f"{scope.get('method', 'WS')} {route_of(scope)}", round(ms, 3), _endpoint(scope))
    unit.scope = None
    unit.error = None


def without_values(scope: Scope) -> str:
    """The path with numbers and UUIDs taken out, for requests that no route takes."""
    parts = str(scope.get("path", "")).split("/")
    return "/".join("{id}" if _IDENTIFIER.fullmatch(part) else part for part in parts)


def route_of(scope: Scope) -> str:
    """The path's template. Routers keep their prefixes in many places; the path has them all."""
    path = str(scope.get("path", ""))
    if "endpoint" not in scope:
        return without_values(scope)
    values = dict(scope.get("path_params") or {})
    form = getattr(scope.get("route"), "path_format", None)
    if isinstance(form, str):
        own = [name for name in values if "{" + name + "}" in form]
        filled = form
        for name in own:
            filled = filled.replace("{" + name + "}", str(values[name]))
        if path.endswith(filled) and filled not in ("", "/"):
            rest = {name: value for name, value in values.items() if name not in own}
            return _with_names(path[: len(path) - len(filled)], rest) + form
    return _with_names(path, values)


def _with_names(path: str, values: dict[str, Any]) -> str:
    """`path` with the values of its parameters replaced by their names, from the end on."""
    parts = path.split("/")
    limit = len(parts)
    for name, value in reversed(values.items()):
        if "/" in str(value):
            path = "/".join(parts)
            head, found, tail = path.rpartition(str(value))
            if found:
                parts = f"{head}{{{name}}}{tail}".split("/")
                limit = len(parts)
            continue
        for index in range(limit - 1, -1, -1):
            if _same(unquote(parts[index]), value):
                parts[index] = "{" + name + "}"
                limit = index
                break
    return "/".join(parts)


def _same(part: str, value: object) -> bool:
    if part.lower() == str(value).lower():
        return True
    if isinstance(value, int | float):
        try:
            return float(part) == value
        except ValueError:
            return False
    return False


def _endpoint(scope: Scope) -> int:
    """The frames that stand for the endpoint's function: the line of its definition."""
    line = _definition(scope.get("endpoint"))
    return places.interned((line,)) if line else 0


@functools.lru_cache(maxsize=4096)
def _definition(function: Foreign) -> tuple[str, int, str] | None:
    function = inspect.unwrap(function)
    code = getattr(getattr(function, "func", function), "__code__", None)
    if code is None or places.kind_of(code.co_filename) != places.OWN:
        return None
    return code.co_filename, code.co_firstlineno, code.co_qualname
