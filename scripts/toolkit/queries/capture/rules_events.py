"""What is not a statement: loads that raise, connections held, left open, blocking, and so on."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

from toolkit.queries.capture import cures
from toolkit.queries.capture.record import Event, Frame, Unit
from toolkit.queries.capture.seen import Seen, callers, finding
from toolkit.queries.finding import Fix, QueryFinding
from toolkit.report.text import counted

Place = tuple[Unit, Event]


def findings_of(seen: Seen) -> Iterator[QueryFinding]:
    yield from lazy_loads(seen)
    yield from held(seen)
    yield from left_open(seen)
    yield from cartesian(seen)
    yield from engines(seen)
    yield from blocking(seen)


def lazy_loads(seen: Seen) -> Iterator[QueryFinding]:
    for frame, places in by_place(
        seen, "missing-greenlet", lambda data: data["attribute"], requests_only=False
    ):
        unit, event = places[0]
        data = event.data
        attribute = data["attribute"]
        if attribute is None:
            message = "asks the database outside of an await"
        elif data["error"] == "DetachedInstanceError":
            message = f"reads {attribute} of an object whose session is closed"
        elif data["base"]:
            message = f"reads {attribute}, a column that a select of {data['base']} leaves out"
        elif data["expired"]:
            message = f"reads {attribute} after a commit has expired it"
        else:
            message = f"reads {attribute}, which was not loaded, without an await"
        ended = f"the request ended with {unit.status}" if unit.status else ""
        yield finding(
            "lazy-load-would-raise",
            f"{unit.name} {message}",
            frame,
            evidence=(
                f"{data['error']} was raised here {times(places)}",
                ended if unit.status and unit.status >= 500 else "",
                callers(event.frames),
            ),
            unit=unit,
            fix=cures.of_lazy_load(seen, unit, data),
            cost_ms=unit.ms,
        )


def held(seen: Seen) -> Iterator[QueryFinding]:
    for frame, places in by_place(seen, "held-connection"):
        unit, event = max(places, key=lambda place: place[1].data["waited_ms"])
        data = event.data
        inside = ", inside of a transaction" if data["in_transaction"] else ""
        yield finding(
            "connection-held",
            f"{unit.name} keeps a connection for {data['waited_ms']:.0f} ms or more while it"
            " awaits something else",
            frame,
            evidence=(
                f"{data['waited_ms']:.0f} of the {data['held_ms']:.0f} ms between check-out and"
                f" check-in{inside}",
                f"a pool of 15 connections then serves {15000 / data['held_ms']:.0f} such"
                " requests a second, whatever the database could do",
                callers(event.frames),
            ),
            unit=unit,
            fix=Fix(
                "code",
                "# Before the slow await, give the connection back: this ends the transaction.\n"
                "await session.commit()\n"
                "# ... await what is slow, and only then go on with the session",
            ),
            cost_ms=data["waited_ms"],
        )


def left_open(seen: Seen) -> Iterator[QueryFinding]:
    for frame, places in by_place(seen, "left-open"):
        unit, event = places[0]
        data = event.data
        how = (
            "until the garbage collector finds it"
            if data["how"] == "garbage"
            else "when the request has ended"
        )
        state = "its transaction still open" if data["in_transaction"] else "no transaction open"
        yield finding(
            "transaction-left-open",
            f"{unit.name} does not give back the connection that it takes here",
            frame,
            evidence=(
                f"still checked out {how}, {state}; seen {times(places)}",
                callers(event.frames),
            ),
            unit=unit,
            fix=Fix("code", "async with SessionFactory() as session:\n    ..."),
            cost_ms=unit.ms,
        )


def cartesian(seen: Seen) -> Iterator[QueryFinding]:
    for frame, places in by_place(seen, "cartesian-product", requests_only=False):
        unit, event = places[0]
        names = re.findall(r'"([^"]+)"', event.data["message"])
        tables = " and ".join(dict.fromkeys(names)) or "two tables"
        yield finding(
            "cartesian-product",
            f"{unit.name} joins {tables} without a condition: every row with every row",
            frame,
            evidence=("SQLAlchemy warned when it compiled the statement", callers(event.frames)),
            unit=unit,
            fix=Fix("code", "select(A).join(B, A.b_id == B.id)  # or .join(A.b)"),
            cost_ms=unit.ms,
        )


def engines(seen: Seen) -> Iterator[QueryFinding]:
    for frame, places in by_place(seen, "engine-created"):
        unit, event = places[0]
        names = {unit.name for unit, _ in places}
        served = sum(one.kind == "request" and one.name in names for one in seen.units.values())
        units = {unit.number for unit, _ in places}
        # Made at the first request and kept, it is one for each process.
        if any(seen.sources.makes_once(one) for one in event.frames) or len(units) < served / 2:
            continue
        yield finding(
            "engine-per-request",
            f"{unit.name} makes an engine, with a pool of its own, in each request",
            frame,
            evidence=(
                f"{counted(len(units), 'engine')} in {counted(served, 'request')}",
                callers(event.frames),
            ),
            unit=unit,
            fix=Fix(
                "code",
                "# once, where the module is imported\nengine = create_async_engine(DATABASE_URL)",
            ),
            cost_ms=unit.ms,
        )


def blocking(seen: Seen) -> Iterator[QueryFinding]:
    for frame, places in by_place(seen, "blocking-driver"):
        unit, event = max(places, key=lambda place: place[1].data["statements"])
        number = event.data["statements"]
        own = [one for one in seen.by_unit[unit.number] if one.frames[:1] == (frame,)]
        ms = sum(one.ms for one in own)
        yield finding(
            "blocking-driver",
            f"{unit.name} waits for the database in the event loop's thread: nothing else runs",
            frame,
            evidence=(
                f"{counted(number, 'statement')} of a synchronous driver, {ms:.1f} ms",
                callers(event.frames),
            ),
            unit=unit,
            fix=Fix(
                "code",
                "# an asynchronous driver and AsyncSession; or `def` instead of `async def`,\n"
                "# which FastAPI runs in a thread",
            ),
            cost_ms=ms,
        )


def by_place(
    seen: Seen,
    kind: str,
    key: Callable[[dict[str, Any]], object] = lambda data: None,
    *,
    requests_only: bool = True,
) -> Iterator[tuple[Frame, list[Place]]]:
    """Events of a kind by the line (and `key` of their data), in the order of the lines."""
    found: dict[tuple[Frame, object], list[Place]] = defaultdict(list)
    for unit, event in seen.events(kind, requests_only=requests_only):
        found[event.frames[0], key(event.data)].append((unit, event))
    for (frame, _), places in sorted(found.items(), key=lambda pair: str(pair[0])):
        yield frame, places


def times(places: list[Place]) -> str:
    return "once" if len(places) == 1 else f"{len(places)} times"
