"""Reads what the worker wrote, of all processes, into one Capture."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from toolkit.queries.capture.record import Engine, Event, Frame, Statement, Unit
from toolkit.queries.capture.shape import shape_of
from toolkit.report.endings import code_in
from toolkit.report.exits import Exit

_COMPREHENSION = re.compile(r"(\.<locals>)?\.<(listcomp|setcomp|dictcomp|genexpr|lambda)>$")
_IDENTIFIER = re.compile(r"/(\d+|[0-9a-f]{8}-[0-9a-f-]{27}|[0-9a-f]{24,})(?=/|$)", re.IGNORECASE)
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"|(?<![\w.])\d+(?![\w.])")
# As the worker writes them (see its statements.py).
STATEMENT = (
    "number", "unit", "sql", "frames", "ms", "at", "many", "rows", "connection", "transaction",
    "engine", "loader", "origin", "to_many", "entity", "batch", "flush", "activation", "streamed",
    "in_session", "parameters",
)  # fmt: skip


class Records:
    """Everything that the processes of one run have written."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.engines: list[Engine] = []
        self.units: list[Unit] = []
        self.statements: list[Statement] = []
        self.events: list[Event] = []
        self.troubles: list[str] = []
        self.away: Exit | None = None
        """How the database was not there, by the errors of requests and tests."""

    def read(self, folder: Path) -> None:
        """All files of `folder`, in the order in which their processes began."""
        files = sorted(folder.glob("*.jsonl"), key=lambda file: (file.stat().st_mtime, file.name))
        for number, file in enumerate(files):
            _Process(self, number).read(file)
        self.statements.sort(key=lambda one: one.number)


class _Process:
    """One file. Numbers count in it alone, so each gets room of its own."""

    def __init__(self, records: Records, process: int) -> None:
        self.records = records
        self.process = process
        self.first = process * 100_000_000
        self.texts: dict[int, str] = {}
        self.frames: dict[int, tuple[Frame, ...]] = {0: ()}
        self.engines: dict[int, int] = {0: 0}
        self.units: dict[int, dict[str, Any]] = {}
        self.rows: dict[int, int] = {}
        self.statements: list[list[Any]] = []
        self.events: list[list[Any]] = []

    def read(self, file: Path) -> None:
        for kind, *fields in _lines(file):
            if kind == "sql":
                self.texts[fields[0]] = fields[1]
            elif kind == "frames":
                self.frames[fields[0]] = _frames(fields[1])
            elif kind == "engine":
                self.engines[fields[0]] = self.engine(*fields[1:])
            elif kind == "unit":
                self.units[fields[0]] = dict(zip(("kind", "name", "test"), fields[1:], strict=True))
            elif kind == "end":
                names = ("name", "ms", "status", "error", "endpoint")
                self.units[fields[0]] |= dict(zip(names, fields[1:], strict=True))
            elif kind == "statement":
                self.statements.append(fields)
            elif kind == "rows":
                self.rows[fields[0]] = fields[1]
            elif kind == "event":
                self.events.append(fields)
            elif kind == "trouble" and fields[0] not in self.records.troubles:
                self.records.troubles.append(fields[0])
        self.hand_over()

    def hand_over(self) -> None:
        """Names, ends and row counts come after what they belong to: now all are known."""
        for number, unit in self.units.items():
            self.records.units.append(self.unit(number, unit))
        for fields in self.statements:
            self.records.statements.append(self.statement(fields))
        for kind, unit, frames, data in self.events:
            shown = self.frames[frames] or self.endpoint(unit)
            self.records.events.append(Event(kind, self.first + unit, shown, data))

    def engine(self, dialect: str, driver: str, url: str) -> int:
        """Its number over all processes: the workers of pytest-xdist have one each."""
        for known in self.records.engines:
            if (known.dialect, known.driver, known.url) == (dialect, driver, url):
                return known.number
        number = len(self.records.engines) + 1
        self.records.engines.append(Engine(number, dialect, driver, url))
        return number

    def unit(self, number: int, fields: dict[str, Any]) -> Unit:
        error = fields.get("error")
        if error:
            # Redis has a ConnectionError of its own.
            said = "" if error[0] == "ConnectionError" else ": ".join(error)
            self.records.away = self.records.away or away_in(said)
        return Unit(
            number=self.first + number,
            kind=fields["kind"],
            name=fields["name"] if "ms" in fields else _IDENTIFIER.sub("/{id}", fields["name"]),
            ms=fields.get("ms", 0.0),
            status=fields.get("status"),
            test=fields.get("test"),
            error=": ".join((error[0], _QUOTED.sub("...", error[1]))) if error else None,
            process=self.process,
            ended="ms" in fields,
        )

    def statement(self, fields: list[Any]) -> Statement:
        given = dict(zip(STATEMENT, fields, strict=True))
        number, unit, text = given["number"], given["unit"], self.texts[given["sql"]]
        # Loading while an answer is serialised, no line is the project's but the endpoint.
        frames = self.frames[given["frames"]] or (self.endpoint(unit) if given["origin"] else ())
        known = {
            "sql": text,
            "shape": shape_of(text),
            "frames": frames,
            "ms": given["ms"] / 1000,
            "at": given["at"] / 1000,
            "rows": self.rows.get(number) if given["rows"] is None else given["rows"],
            "engine": self.engines[given["engine"]],
            "origin": given["origin"] or "",
        }
        counted = ("number", "unit", "connection", "transaction")
        return Statement(**given | known | {one: self.first + given[one] for one in counted})

    def endpoint(self, unit: int) -> tuple[Frame, ...]:
        """The definition of the function that serves a request."""
        found = self.frames[self.units.get(unit, {}).get("endpoint") or 0]
        return tuple(
            Frame(one.file, _definition(self.records.root / one.file, one.line), one.function)
            for one in found
        )


def _definition(file: Path, line: int) -> int:
    """The line of `def`, where `line` is that of the first decorator."""
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return line
    for number in range(line, min(line + 30, len(lines)) + 1):
        if re.match(r"\s*(async\s+)?def\s", lines[number - 1]):
            return number
    return line


def _lines(file: Path) -> Iterator[list[Any]]:
    with file.open(encoding="ascii") as stream:
        for line in stream:
            # The last line of a process that was killed may be cut.
            if line.endswith("\n"):
                yield json.loads(line)


def _frames(shown: list[list[Any]]) -> tuple[Frame, ...]:
    """A comprehension is a frame of its own or not, by the version of Python: never here."""
    frames: list[Frame] = []
    inside = ""
    for file, line, function in shown:
        name = _COMPREHENSION.sub("", function)
        frame = Frame(file.replace("\\", "/"), line, name)
        # The function around a comprehension is at the line where that begins.
        if not frames or inside != f"{file}:{name}":
            frames.append(frame)
        inside = f"{file}:{name}" if name != function else ""
    return tuple(frames)


def away_in(text: str) -> Exit | None:
    """Whether a database that does not answer says so in `text`."""
    code = code_in(text)
    return code if code in {Exit.NETWORK, Exit.SERVER_GONE} else None


def unit_errors(units: list[Unit]) -> int:
    """How many tests failed."""
    return sum(one.kind == "test" and one.error is not None for one in units)
