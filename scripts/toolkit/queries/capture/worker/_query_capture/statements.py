"""Writes each execution on a cursor: who issued it, what it cost, how many rows came.

    ["statement", number, unit, sql, frames, ms, at, many, rows, connection, transaction,
     engine, loader, origin, to_many, entity, batch, flush, activation, streamed, in_session,
     parameters]

`origin` says who asked: `lazy` (a relationship's first use), `eager` (selectinload and the
like), `deferred` (a column's first use), `expired` (a column's first use after a commit),
`polymorphic` (a subclass's column that a select of the base class has left out; `entity` is
that base class), `refresh` (Session.refresh), or nothing. `flush` numbers the flush that issued
it, `batch` says that it was one of several sets of parameters given at once; `ms` and `at` are
microseconds.
"""

import asyncio
import functools
import re
import sys
import time
from collections.abc import Callable
from types import CodeType, ModuleType
from typing import Any

from . import connections, lazy, places, records, units
from .foreign import Foreign

KEY = connections.KEY
_now = time.perf_counter
_WRITES = re.compile(r"\s*(insert|update|delete|merge|replace)\b", re.IGNORECASE)
_refresh: list[CodeType] = []
"""The code of Session.refresh, once the ORM is there."""


def listen(sqlalchemy: ModuleType) -> None:
    """Watch all engines, as soon as they are made.

    Their dialects' methods, not the events of engines: an engine with a listener takes slower
    ways through SQLAlchemy, which would cost as much again as all of this worker.
    """
    from sqlalchemy.engine import Engine  # noqa: PLC0415

    connections.listen()

    # Not __init__: SQLAlchemy 2.0 reads from its signature which arguments an engine takes.
    def created(cls: type[Any], *arguments: Foreign, **named: Foreign) -> Foreign:
        dialect = named.get("dialect", arguments[1] if len(arguments) > 1 else None)
        # The variants that Engine.execution_options() makes share their engine's dialect.
        if cls is Engine and dialect is not None:
            records.guarded(_watch)(dialect)
        return object.__new__(cls)

    type.__setattr__(Engine, "__new__", created)


def _watch(dialect: Foreign) -> None:
    """Event `engine-created`, of engines made while a request is served; data: `dialect`."""
    if KEY not in dialect.__dict__:
        dialect.__dict__[KEY] = (-1, 0)
        for name in ("do_execute", "do_executemany"):
            setattr(dialect, name, _executing(getattr(dialect, name)))
        dialect.do_execute_no_params = _executing_plain(dialect.do_execute_no_params)
        connections.watch_transactions(dialect)
    unit = units.request.get()
    if unit is not None:
        units.event("engine-created", unit, units.here(3), {"dialect": dialect.name})


def _executing(execute: Callable[..., Any]) -> Callable[..., Any]:
    """The dialect's method, which is all that is between SQLAlchemy and the driver."""

    def executing(
        cursor: Foreign, statement: str, parameters: Foreign, context: Foreign = None
    ) -> Foreign:
        began = _now()
        result = execute(cursor, statement, parameters, context)
        ended = _now()
        if context is not None:
            try:
                _record((began, ended), cursor, statement, parameters, context)
            except Exception as error:
                records.trouble(_record, error)
        return result

    return executing


def _executing_plain(execute: Callable[..., Any]) -> Callable[..., Any]:
    def executing(cursor: Foreign, statement: str, context: Foreign = None) -> Foreign:
        began = _now()
        result = execute(cursor, statement, context)
        ended = _now()
        if context is not None:
            try:
                _record((began, ended), cursor, statement, (), context)
            except Exception as error:
                records.trouble(_record, error)
        return result

    return executing


def _record(
    times: tuple[float, float],
    cursor: Foreign,
    statement: str,
    parameters: Foreign,
    context: Foreign,
) -> None:
    conn = context.root_connection
    if not conn._allow_autobegin:
        # SQLAlchemy's own questions to a server that it meets for the first time.
        return
    began, ended = times
    executemany = context.executemany
    unit = units.current()
    dialect = conn.dialect
    # At least so many frames are SQLAlchemy's and ours.
    frames, outermost = places.look(sys._getframe(4))
    state = connections.state_of(conn)
    if state.checkouts and not state.checkouts[-1].frames:
        state.checkouts[-1].frames, state.checkouts[-1].own = frames, outermost is not None
    options = context.execution_options
    origin = loader = to_many = None
    entity = _entity(context)
    if "_sa_orm_load_options" in options:
        origin, loader, to_many = _origin(context, options)
        if origin == "polymorphic":
            entity = lazy.base_of(options["_sa_orm_load_options"]._refresh_state).__name__
    number = records.number()
    rows = _rows(cursor, context, dialect, unit, number)
    many = 1
    if executemany:
        many = _sets(parameters, context)
        if isinstance(parameters, list) and parameters:
            parameters = parameters[0]
    unit.statements += 1
    if statement[:6] != "SELECT" and _WRITES.match(statement):
        unit.writes += 1
    if not dialect.is_async and unit.kind == "request":
        _note_blocking(unit, frames)
    records.write(
        [
            "statement",
            number,
            unit.number,
            records.text_number(statement),
            frames,
            int((ended - began) * 1e6),
            int((began - unit.began) * 1e6),
            many,
            rows,
            state.number,
            state.transaction,
            _engine(conn, dialect),
            loader,
            origin,
            to_many,
            entity,
            executemany,
            unit.flush,
            0 if unit.kind == "request" else unit.activation_of(outermost),
            context._is_server_side,
            state.in_session,
            parameters,
        ]
    )
    if unit.kind == "other":
        # It has no end of its own, and forked processes run no functions at exit.
        records.flush()


def _sets(parameters: Foreign, context: Foreign) -> int:
    """How many sets of parameters: also of a batch of insertmanyvalues, whose are one tuple."""
    if isinstance(parameters, list):
        return len(parameters) or 1
    compiled = getattr(context, "compiled_parameters", None)
    if compiled and compiled[0] and parameters:
        return max(1, len(parameters) // len(compiled[0]))
    return 1


def _rows(
    cursor: Foreign, context: Foreign, dialect: Foreign, unit: units.Unit, number: int
) -> int | None:
    """Rows that the server sent or changed; None where they are counted as they are read."""
    if cursor.description is None:
        count = cursor.rowcount
        return count if isinstance(count, int) and count >= 0 else None
    if not context._is_server_side:
        # The asynchronous drivers' adapters hold all rows from here on.
        buffered = getattr(cursor, "_rows", None)
        if buffered is not None:
            return len(buffered)
        if dialect.name != "sqlite" and cursor.rowcount >= 0:
            return int(cursor.rowcount)
    _count_fetched_rows()
    context._query_capture_rows = (unit, number)
    unit.pending[number] = 0
    return None


@functools.cache
def _count_fetched_rows() -> None:
    """From now on; with drivers that tell the number, that is never."""
    from sqlalchemy.engine import cursor  # noqa: PLC0415

    for strategy in (
        cursor.CursorFetchStrategy,
        cursor.BufferedRowCursorFetchStrategy,
        cursor.FullyBufferedCursorFetchStrategy,
    ):
        for name in ("fetchone", "fetchmany", "fetchall"):
            if name in vars(strategy):
                setattr(strategy, name, _counting(getattr(strategy, name)))


def _counting(fetch: Callable[..., Any]) -> Callable[..., Any]:
    """A fetch method of a result that also counts its rows where no one else does."""

    def counting(self: Foreign, result: Foreign, *arguments: Foreign, **named: Foreign) -> Foreign:
        rows = fetch(self, result, *arguments, **named)
        target = getattr(result.context, "_query_capture_rows", None)
        if target is not None:
            unit, number = target
            count = len(rows) if isinstance(rows, list) else int(rows is not None)
            total = unit.pending.get(number, 0) + count
            if fetch.__name__ == "fetchall" or not count:
                records.write(["rows", number, total])
                if unit.kind == "other":
                    records.flush()
                unit.pending.pop(number, None)
                result.context._query_capture_rows = None
            else:
                unit.pending[number] = total
        return rows

    counting.__name__ = fetch.__name__
    return counting


def _origin(context: Foreign, options: Foreign) -> tuple[str | None, str | None, bool | None]:
    """Which part of the ORM issued it, for which attribute, and is that a collection?"""
    load = options["_sa_orm_load_options"]
    compile_options: Foreign = getattr(context.invoked_statement, "_compile_options", None)
    state = load._refresh_state
    if state is not None:
        props = compile_options._only_load_props
        if _is_refresh():
            return "refresh", state.class_.__name__, None
        if not props:
            return None, None, None
        expired = props & state.expired_attributes
        name = min(expired or props)
        if lazy.are_of_a_subclass(state, props):
            return "polymorphic", f"{state.class_.__name__}.{name}", None
        return "expired" if expired else "deferred", f"{state.class_.__name__}.{name}", None
    prop = getattr(getattr(compile_options, "_current_path", None), "prop", None)
    if prop is None:
        return None, None, None
    name = f"{prop.parent.class_.__name__}.{prop.key}"
    is_lazy = load._lazy_loaded_from is not None and "sa_top_level_orm_context" not in options
    return "lazy" if is_lazy else "eager", name, getattr(prop, "uselist", None)


def _is_refresh() -> bool:
    if not _refresh:
        session = sys.modules.get("sqlalchemy.orm.session")
        if session is None:
            return False
        _refresh.append(session.Session.refresh.__code__)
    frame = sys._getframe(3)
    for _ in range(25):
        if frame.f_code is _refresh[0]:
            return True
        if frame.f_back is None:
            return False
        frame = frame.f_back
    return False


def _entity(context: Foreign) -> str | None:
    """The mapped class whose rows the statement is for, noted on the compiled form."""
    compiled = context.compiled
    if compiled is None:
        return None
    known: str | None = getattr(compiled, "_query_capture_entity", "")
    if known == "":
        known = None
        if context.isinsert or context.isupdate or context.isdelete:
            annotations = getattr(getattr(compiled.statement, "table", None), "_annotations", {})
            mapper = annotations.get("parententity")
            known = mapper.class_.__name__ if mapper is not None else None
        else:
            for column in getattr(context.invoked_statement, "column_descriptions", ()):
                if column.get("entity") is not None:
                    known = getattr(column["entity"], "__name__", None)
                    break
            known = known or _entity_within(context.invoked_statement)
        compiled._query_capture_entity = known
    return known


def _entity_within(statement: Foreign) -> str | None:
    """The first mapped class that it names anywhere: `select(func.count()).select_from(Post)`."""
    from sqlalchemy.sql import visitors  # noqa: PLC0415

    for element in visitors.iterate(statement) if hasattr(statement, "get_children") else ():
        mapper: Foreign = getattr(element, "_annotations", {}).get("parententity")
        if hasattr(mapper, "class_"):
            return str(mapper.class_.__name__)
    return None


def _engine(conn: Foreign, dialect: Foreign) -> int:
    """The engine's number, noted on its dialect, which its variants share."""
    epoch, number = dialect.__dict__.get(KEY, (-1, 0))
    if epoch != records.epoch:
        number = records.number()
        dialect.__dict__[KEY] = (records.epoch, number)
        url = conn.engine.url.render_as_string(hide_password=False)
        records.write(["engine", number, dialect.name, dialect.driver, url])
    return int(number)


def _note_blocking(unit: units.Unit, frames: int) -> None:
    """A synchronous driver in the thread of a running event loop stops every request."""
    if asyncio._get_running_loop() is None:
        return
    unit.sync_statements[0] += 1
    if unit.sync_statements[0] == 1:
        unit.sync_statements[1] = frames
