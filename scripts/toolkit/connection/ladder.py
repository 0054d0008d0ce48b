"""Down the layers, to the first that is broken."""

import asyncio
import contextlib
import difflib
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from toolkit.connection import load as pool_load
from toolkit.connection import mysql, postgresql, timing
from toolkit.connection.address import Target
from toolkit.connection.connecting import LOGIN_SECONDS, NAME, reading
from toolkit.connection.expected import Expected, Room
from toolkit.connection.failures import judge_kind, words_of
from toolkit.connection.network import look_up, reach
from toolkit.connection.pooler import between, forget_statements, judge_pooler, pid_of_login
from toolkit.connection.revision import History, judge_revision, read_history, unreadable
from toolkit.connection.steps import (
    Broken,
    Layer,
    Status,
    Step,
    Verdict,
    judged,
    not_checked,
    ok,
    stop,
)
from toolkit.connection.tls import check_tls

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

T = TypeVar("T")
Add = Callable[[Step], None]
LOAD_SECONDS = 10.0
KINDS: Mapping[str, ModuleType] = {"postgresql": postgresql, "mysql": mysql}


async def descend(target: Target, expected: Expected, add: Add) -> None:
    """Check one layer after the other; each step goes to `add`. Raises Broken at the first
    that is broken: also with the step of a layer that did not end in time.
    """
    addresses, step = await look_up(target, expected.left())
    add(step)
    address, peer, step = await reach(target, addresses, expected.left())
    add(step)
    add(await check_tls(target, address, peer, expected.left()))
    try:
        async with reading(target, expected.left()) as connection:
            await look_inside(target, expected, connection, add)
    except Broken as broken:
        if broken.step.layer is Layer.DATABASE:
            raise Broken(await with_similar(target, broken.step, expected)) from None
        if broken.step.layer is Layer.LOGIN and peer is not None and peer.offers_tls:
            await blame_tls(target, broken.step, expected)
        raise


async def look_inside(
    target: Target, expected: Expected, connection: "AsyncConnection", add: Add
) -> None:
    """All that one connection and the application's own pool can show."""
    kind = KINDS[target.kind]
    left = expected.left
    given = await within(Layer.LOGIN, pid_of_login(connection), left())
    facts = await within(Layer.SERVER, kind.read_facts(connection), left())
    add(ok(Layer.LOGIN, f"as {facts['role']}, with {target.driver}"))
    add(database_step(facts))
    add(kind.judge_server(facts, expected))
    history = read_history(expected.project)
    table = history.table if history else "alembic_version"
    add(await within(Layer.PRIVILEGES, kind.judge_privileges(connection, facts, table), left()))
    room = kind.room(facts)
    used = await look_between(target, expected, (facts, given, room), kind.PID, add)
    latency = timing.check_latency(target, connection, room.free, left())
    add(await within(Layer.LATENCY, latency, left()))
    add(await pool_step(target, expected, room, kind.PID, used))
    add(judge_room(expected, room, pooler=used is not None))
    add(await within(Layer.CLOCK, timing.check_clock(connection, kind.CLOCK), left()))
    add(kind.judge_timeouts(facts, expected))
    add(await revision_step(connection, history, expected))


async def look_between(
    target: Target,
    expected: Expected,
    seen: tuple[Mapping[str, Any], int | None, Room],
    query: str,
    add: Add,
) -> pool_load.Load | None:
    """The pooler's step; the load that was put on it, None without a pooler."""
    facts, given, room = seen
    why = between(facts, given)
    if why is None:
        add(ok(Layer.POOLER, "none: login and query name the same process"))
        return None
    # Those that a pooler has are its own; the server's head-room says little about them.
    connections = max(2, pool_load.connections_for(expected, replace_free(room)))
    used = await loaded(target, expected, connections, query, Layer.POOLER)
    if target.kind == "postgresql":
        await forget_statements(target, connections, facts["seen_at"])
    add(judge_pooler(target, why, used))
    return used


def replace_free(room: Room) -> Room:
    return replace(room, used=min(room.used, max(0, room.limit - 4)))


async def loaded(
    target: Target, expected: Expected, connections: int, query: str, layer: Layer
) -> pool_load.Load:
    seconds = min(LOAD_SECONDS, expected.left())
    run = pool_load.run_load(target, expected, connections, query, seconds)
    return await within(layer, run, seconds + 3)


async def pool_step(
    target: Target, expected: Expected, room: Room, query: str, used: pool_load.Load | None
) -> Step:
    if used is None:
        connections = pool_load.connections_for(expected, room)
        if connections < 1:
            return pool_load.no_room(room)
        used = await loaded(target, expected, connections, query, Layer.POOL)
    return pool_load.judge_pool(used, expected)


def judge_room(expected: Expected, room: Room, *, pooler: bool) -> Step:
    """Raises Broken where the application can never have what it may ask for."""
    settings, verdicts = expected.settings, list[Verdict]()
    wanted = f"{sum_of(expected)} = {expected.wanted}"
    has = f"{room.limit} ({room.words}), {room.used} of them in use"
    lines = [f"the application may open {wanted}", f"the server has {has}"]
    if settings.no_pool:
        lines.append(f"{settings.origin}: NullPool opens one for each use, without a limit")
    if room.stuck:
        lines.append(f"{room.stuck} of this role's are idle in a transaction")
        message = f"{room.stuck} connections rest in open transactions and are not given back."
        many = 2 * room.stuck >= room.limit
        verdicts.append(
            Verdict(
                Status.BROKEN if many else Status.WARNING,
                message,
                "SELECT pid, query FROM pg_stat_activity WHERE state LIKE 'idle in trans%'; then"
                " idle_in_transaction_session_timeout, and `async with` in the code.",
            )
        )
    lines += in_use_lines(expected)
    if pooler:
        lines.append("behind a pooler its own limits count: max_client_conn, default_pool_size")
    elif expected.wanted > room.limit:
        verdicts.append(
            Verdict(
                Status.BROKEN,
                f"The application may open {wanted} connections, the server has {room.limit}"
                f" ({room.words}).",
                what_fits(expected, room.limit),
            )
        )
    elif expected.wanted > room.free:
        verdicts.append(
            Verdict(
                Status.WARNING,
                f"The application may open {wanted} connections, and {room.free} are free (its own"
                " among those in use, if it runs).",
                "Look who has them: "
                "SELECT usename, application_name, count(*) FROM pg_stat_activity GROUP BY 1, 2",
            )
        )
    if expected.in_use is not None and expected.in_use[1] > expected.wanted:
        verdicts.append(
            Verdict(
                Status.WARNING,
                f"At this rate {expected.in_use[1]} connections are in use at the peaks, and all"
                f" pools have {expected.wanted}.",
                "Hold them for less time (commit before a slow await), or enlarge the pools.",
            )
        )
    return judged(
        Layer.HEADROOM,
        f"{wanted} of {room.limit}, {room.free} free",
        verdicts,
        lines,
        wanted=expected.wanted,
        limit=room.limit,
        used=room.used,
        free=room.free,
        stuck=room.stuck,
    )


def sum_of(expected: Expected) -> str:
    """The factors, without those that nobody has named."""
    settings = expected.settings
    named = ((expected.services, "services"), (expected.hosts, "hosts"))
    more = "".join(f"{number} {what} x " for number, what in named if number > 1)
    each = f"({settings.pool_size} + {settings.max_overflow})"
    return f"{more}{expected.workers} {'workers ' if more else ''}x {each}"


def in_use_lines(expected: Expected) -> list[str]:
    if expected.in_use is None:
        return []
    mean, peak = expected.in_use
    return [
        f"{expected.rate} transactions a second of {expected.hold} ms: {mean:.1f} connections in"
        f" use on average (Little's law), {peak} at the peaks"
    ]


def what_fits(expected: Expected, limit: int) -> str:
    """What to do where the sum is above the limit, in numbers."""
    each = limit // expected.processes
    if each < 1:
        return (
            f"{expected.processes} processes need PgBouncer in between: pools as they are, and"
            f" default_pool_size at most {limit} for all."
        )
    return (
        f"At most {each} a process fit: lower pool_size and max_overflow, or the workers, raise"
        " the limit, or put PgBouncer in between."
    )


async def revision_step(
    connection: "AsyncConnection", history: History | None, expected: Expected
) -> Step:
    """Raises Broken."""
    why = unreadable(expected.project)
    if why is not None or history is None or expected.project is None:
        return why or not_checked(Layer.REVISION, "there is nothing to compare with")
    query = current_revisions(connection, history)
    current = await within(Layer.REVISION, query, expected.left())
    return judge_revision(history, current)


async def current_revisions(
    connection: "AsyncConnection", history: History
) -> frozenset[str] | None:
    """What the version table holds; None where there is no such table."""
    from sqlalchemy import inspect  # noqa: PLC0415  (a name that reads like the library's)

    there = await connection.run_sync(
        lambda sync: inspect(sync).has_table(history.table, schema=history.schema)
    )
    if not there:
        return None
    table = ".".join(filter(None, (history.schema, history.table)))
    rows = await connection.execute(text(f"SELECT version_num FROM {table}"))  # noqa: S608
    return frozenset(str(one) for one in rows.scalars())


def database_step(facts: Mapping[str, Any]) -> Step:
    if facts["database"] is None:
        return not_checked(Layer.DATABASE, "the URL names none")
    return ok(Layer.DATABASE, str(facts["database"]))


async def blame_tls(target: Target, step: Step, expected: Expected) -> None:
    """Raise Broken at TLS if the same login succeeds with TLS.

    MySQL and MariaDB say "access denied" alike for a wrong password and for want of TLS.
    """
    if target.kind != "mysql" or target.tls.mode != "disable":
        return
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    encrypted = replace(target, arguments={**target.arguments, "ssl": context})
    try:
        async with reading(encrypted, expected.left()):
            pass
    except (Broken, SQLAlchemyError, OSError):
        return
    raise Broken(judge_kind("tls-required", target, step.evidence[0])) from None


async def with_similar(target: Target, step: Step, expected: Expected) -> Step:
    """The step with the names of databases that are there, the similar ones first."""
    wanted = str(target.url.database)
    others = ("postgres", "template1") if target.kind == "postgresql" else (None,)
    names: list[str] = []
    for other in others:
        elsewhere = replace(target, url=target.url.set(database=other))
        with contextlib.suppress(Broken, SQLAlchemyError, OSError, TimeoutError):
            async with (
                asyncio.timeout(min(LOGIN_SECONDS, expected.left())),
                reading(elsewhere, expected.left()) as connection,
            ):
                result = await connection.execute(text(KINDS[target.kind].DATABASES))
                names = [str(one) for one in result.scalars()]
            break
    similar = difflib.get_close_matches(wanted, names, n=3, cutoff=0.6)
    if similar:
        line = f"similar names on this server: {', '.join(similar)}"
    elif names:
        line = f"on this server: {', '.join(names[:8])}{', ...' if len(names) > 8 else ''}"
    else:
        return step
    return replace(step, evidence=(*step.evidence, line), data={"similar": similar})


async def within(layer: Layer, work: Awaitable[T], seconds: float) -> T:
    """What `work` returns; Broken at `layer` when it fails or takes longer than `seconds`."""
    try:
        async with asyncio.timeout(seconds):
            return await work
    except Broken:
        raise
    except TimeoutError:
        stop(
            layer,
            f"No answer within {seconds:.1f} s.",
            "Run it again with a larger --timeout; then look into the server's log.",
        )
    # Drivers raise errors of many kinds, and SQLAlchemy 2.0 lets asyncpg's own through.
    except Exception as error:
        stop(
            layer,
            "The server answers the question about it with an error.",
            f"Look into the server's log for {NAME}.",
            [words_of(error)],
        )
