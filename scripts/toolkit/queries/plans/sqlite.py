"""The layer on SQLite: a copy by the backup API, and indexes in transactions on that."""

import re
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from typing import Any

from sqlalchemy.engine import URL

from toolkit.database.scratch import open_scratch
from toolkit.database.sqlite_reading import file_of, readable
from toolkit.queries.finding import Index
from toolkit.queries.plans.bench import Built, Clock, Failed, Sample, quickest
from toolkit.queries.plans.captured import Shape
from toolkit.queries.plans.job import Job, parsed_of, try_all, worst
from toolkit.queries.plans.measure import Node
from toolkit.queries.plans.model import (
    Column,
    ExistingIndex,
    Limits,
    Place,
    Table,
    create_index,
    quoted,
)
from toolkit.queries.plans.query import Query
from toolkit.queries.plans.values import NotRestored
from toolkit.report.quoting import identifier

BUSY_SECONDS = 5.0
PAGES_A_STEP = 2000
STEPS = 100
"""Instructions of the virtual machine between two looks at the time."""
EXACT_STEPS = 100_000
"""Up to so many, the steps are counted one by one."""
FEW = 31
WRITTEN_ROWS = 500
WRITE_RUNS = 5


class NoCopy(Exception):
    """There is no database file to copy. The text says why."""


def measure(url: URL, shapes: Sequence[Shape], job: Job) -> None:
    """Fill `job` with verdicts and notes."""
    with open_scratch("sqlite", server_url=None) as scratch:
        path = str(scratch.url.database)
        job.say("copying the file to a temporary folder")
        backup(url, path, job)
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            # Nothing here has to survive: what is timed is work, not the disk.
            for setting in ("journal_mode = MEMORY", "synchronous = OFF", "temp_store = MEMORY"):
                connection.execute(f"PRAGMA {setting}")
            drop_triggers(connection)
            bench = SqliteBench(connection, job.limits, job.clock)
            tables = read_tables(connection)
            chosen, known = [], {}
            costs, lean = {}, set()
            for number, shape in enumerate(shapes):
                details = plan_of(connection, shape)
                costs[number] = rows_scanned(details, tables) * shape.executions
                if is_lean(details, tables):
                    lean.add(number)
            for number in worst(costs, lean, job):
                shape = shapes[number]
                if shape.query.missing:
                    job.note(
                        shape, f"not measured: a parameter ({shape.query.missing}) was not kept"
                    )
                    continue
                parsed = parsed_of(shape, job)
                names = {place.name for place in parsed.tables()} if parsed else set(tables)
                chosen.append(shape)
                known[shape] = {
                    Place("", name): tables[name] for name in sorted(names) if name in tables
                }
            try_all(bench, chosen, known, job)


SCANNED = re.compile(r"SCAN (?:TABLE )?(\S+)")


BY_ROWID = re.compile(r"SEARCH .* USING INTEGER PRIMARY KEY \(rowid=\?\)")
BY_INDEX = re.compile(r"SEARCH .* USING (?:COVERING )?INDEX (\S+) \((.*)\)")


def plan_of(connection: sqlite3.Connection, shape: Shape) -> list[str]:
    """The lines of its plan; none where it can't be had."""
    if shape.query.missing:
        return []
    sql, values = shape.query.marked
    try:
        plan = connection.execute(f"EXPLAIN QUERY PLAN {sql}", values).fetchall()
    except sqlite3.Error:
        return []
    return [str(row[3]) for row in plan]


def is_lean(details: Sequence[str], tables: Mapping[str, Table]) -> bool:
    """Does it look single rows up by their keys, and nothing else?"""
    unique = {
        one.name: len(one.keys) for table in tables.values() for one in table.indexes if one.unique
    }

    def is_look_up(detail: str) -> bool:
        by_index = BY_INDEX.fullmatch(detail)
        if by_index is None:
            return BY_ROWID.fullmatch(detail) is not None
        return by_index[2].count("=?") == unique.get(by_index[1])

    return bool(details) and all(map(is_look_up, details))


def rows_scanned(details: Sequence[str], tables: Mapping[str, Table]) -> float:
    """Rows of the tables that it reads from end to end."""
    names = [found[1] for detail in details if (found := SCANNED.match(detail))]
    # By an alias no table is found: then it is the largest, to be on the safe side.
    largest = max((table.rows for table in tables.values()), default=0)
    return float(sum(tables[name].rows if name in tables else largest for name in names))


def backup(url: URL, path: str, job: Job) -> None:
    """A consistent copy, also while others write. Nothing changes in the file or beside it."""
    file = file_of(url)
    if file is None:
        raise NoCopy("a database in memory can't be copied: give the URL of a file")
    if not file.is_file():
        raise NoCopy(f"there is no file {file.name}")
    if file.stat().st_size > job.limits.copy_bytes:
        raise NoCopy(f"{file.name} is larger than {job.limits.copy_bytes:,} bytes")

    def check(_status: int, _left: int, _all: int) -> None:
        job.clock.check()

    with (
        readable(file) as address,
        closing(sqlite3.connect(address, uri=True, timeout=BUSY_SECONDS)) as source,
        closing(sqlite3.connect(path)) as target,
    ):
        source.backup(target, pages=PAGES_A_STEP, progress=check)


def drop_triggers(connection: sqlite3.Connection) -> None:
    names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall()
    for (name,) in names:
        connection.execute(f"DROP TRIGGER {identifier(name)}")


def read_tables(connection: sqlite3.Connection) -> dict[str, Table]:
    taken = frozenset(name for (name,) in connection.execute("SELECT name FROM sqlite_master"))
    names = connection.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
    ).fetchall()
    found = {}
    for (name,) in names:
        columns = {}
        rows = connection.execute(f"SELECT count(*) FROM {identifier(name)}").fetchone()[0]  # noqa: S608
        info = connection.execute(f"PRAGMA table_info({identifier(name)})").fetchall()
        for _, column, kind, _, _, _ in info:
            few = f"SELECT DISTINCT {identifier(column)} FROM {identifier(name)} LIMIT {FEW}"  # noqa: S608
            distinct = connection.execute(f"SELECT count(*) FROM ({few})").fetchone()[0]  # noqa: S608
            columns[column] = Column(column, kind, float(distinct), kind.upper() == "BOOLEAN")
        keys = [row[1] for row in sorted(info, key=lambda row: row[5]) if row[5]]
        indexes = [*read_indexes(connection, name)]
        if keys:
            indexes.append(ExistingIndex("the primary key", tuple(map(quoted, keys)), True))
        found[name] = Table(Place("", name), columns, tuple(indexes), rows, 0, "", taken)
    return found


def read_indexes(connection: sqlite3.Connection, table: str) -> Iterator[ExistingIndex]:
    rows = connection.execute(f"PRAGMA index_list({identifier(table)})").fetchall()
    for _, name, unique, _, partial in rows:
        keys = connection.execute(f"PRAGMA index_xinfo({identifier(name)})").fetchall()
        texts = [
            (quoted(column) if column else "?") + (" DESC" if descending else "")
            for _, _, column, descending, _, is_key in keys
            if is_key
        ]
        if all(text.endswith(" DESC") for text in texts):
            texts = [text.removesuffix(" DESC") for text in texts]
        sql = connection.execute(
            "SELECT sql FROM sqlite_master WHERE type = 'index' AND name = ?", (name,)
        ).fetchone()
        where = re.split(r"\bWHERE\b", sql[0], flags=re.I)[-1].strip() if partial and sql else ""
        yield ExistingIndex(name, tuple(texts), bool(unique), "btree", where)


class SqliteBench:
    """The scratch copy; see `Bench`."""

    work_unit = "steps of SQLite's virtual machine"

    def __init__(self, connection: sqlite3.Connection, limits: Limits, clock: Clock) -> None:
        self.connection, self.limits, self.clock = connection, limits, clock
        has = "SELECT 1 FROM sqlite_master WHERE name = 'sqlite_stat1'"
        self.analyzed = connection.execute(has).fetchone() is not None
        """Without statistics in the given database there must be none here."""

    def sample(self, query: Query) -> Sample:
        try:
            sql, values = query.marked
        except NotRestored as error:
            raise Failed(f"a parameter ({error}) was not kept") from None
        self.clock.check()
        plan = self.plan(sql, values)
        steps, first = self.run(sql, values)
        if steps is None:
            return Sample(first, float("inf"), plan, slow=True)
        if steps < EXACT_STEPS:
            # The counter of the steps to the next call goes on from one statement to another.
            steps = self.run(sql, values, every=1)[0] or steps
        ms = quickest(lambda: self.run(sql, values)[1], most=self.limits.runs)
        return Sample(ms, steps, plan)

    def run(
        self, sql: str, values: tuple[Any, ...], every: int = STEPS
    ) -> tuple[float | None, float]:
        """Steps (None: it did not end) and milliseconds; what it changes is undone."""
        self.clock.check()
        steps = 0
        started = time.perf_counter()
        end = started + self.limits.statement_seconds

        def count() -> bool:
            nonlocal steps
            steps += every
            return time.perf_counter() > end or self.clock.ended.is_set()

        self.connection.execute("SAVEPOINT run")
        self.connection.set_progress_handler(count, every)
        try:
            for _ in self.connection.execute(sql, values):
                pass
            return steps, (time.perf_counter() - started) * 1000
        except sqlite3.OperationalError as error:
            if str(error) == "interrupted":
                self.clock.check()
                return None, self.limits.statement_seconds * 1000
            raise Failed(reason_of(error)) from None
        except (sqlite3.Error, ValueError, OverflowError) as error:
            raise Failed(reason_of(error)) from None
        finally:
            self.connection.set_progress_handler(None, 0)
            self.connection.execute("ROLLBACK TO run")
            self.connection.execute("RELEASE run")

    def plan(self, sql: str, values: tuple[Any, ...]) -> Node:
        try:
            rows = self.connection.execute(f"EXPLAIN QUERY PLAN {sql}", values).fetchall()
        except sqlite3.Error as error:
            raise Failed(reason_of(error)) from None

        def below(parent: int) -> tuple[Node, ...]:
            return tuple(
                Node(label=detail, children=below(number))
                for number, above, _, detail in rows
                if above == parent
            )

        return Node(label="QUERY PLAN", children=below(0))

    @contextmanager
    def built(self, indexes: Sequence[Index]) -> Iterator[list[Built]]:
        self.connection.execute("SAVEPOINT trial")
        try:
            yield [self.build(index) for index in indexes]
        finally:
            self.connection.execute("ROLLBACK TO trial")
            self.connection.execute("RELEASE trial")

    def build(self, index: Index) -> Built:
        self.clock.check()
        pages, started = self.pages(), time.perf_counter()
        try:
            self.connection.execute(create_index(index, "sqlite"))
        except sqlite3.Error as error:
            raise Failed(reason_of(error)) from None
        build_ms = (time.perf_counter() - started) * 1000
        size = self.connection.execute("PRAGMA page_size").fetchone()[0]
        built = Built((self.pages() - pages) * size, build_ms)
        if self.analyzed:
            self.connection.execute(f"ANALYZE {identifier(index.name)}")
        return built

    def pages(self) -> int:
        count = self.connection.execute("PRAGMA page_count").fetchone()[0]
        free = self.connection.execute("PRAGMA freelist_count").fetchone()[0]
        return int(count) - int(free)

    def keep(self, index: Index) -> None:
        self.build(index)

    def drop(self, index: Index) -> None:
        self.connection.execute(f"DROP INDEX {identifier(index.name)}")

    def write_ratio(self, index: Index) -> float | None:
        """Rows of the table are taken out and put in again; SQLite undoes that without a trace."""
        table = identifier(index.table)
        some = f"SELECT rowid FROM {table} LIMIT {WRITTEN_ROWS}"  # noqa: S608
        self.connection.execute("SAVEPOINT written")
        try:
            rows = f"SELECT * FROM {table} WHERE rowid IN ({some})"  # noqa: S608
            self.connection.execute(f"CREATE TEMP TABLE _written AS {rows}")
            self.connection.execute(f"DELETE FROM {table} WHERE rowid IN ({some})")  # noqa: S608
            insert = f"INSERT INTO {table} SELECT * FROM _written"  # noqa: S608
            with_it = min(self.run(insert, ())[1] for _ in range(WRITE_RUNS))
            self.connection.execute(f"DROP INDEX {identifier(index.name)}")
            without = min(self.run(insert, ())[1] for _ in range(WRITE_RUNS))
        except (sqlite3.Error, Failed):
            return None
        finally:
            self.connection.execute("ROLLBACK TO written")
            self.connection.execute("RELEASE written")
        return max(with_it / without, 1.0) if without else None

    def estimates(
        self, _query: Query, trials: Sequence[Sequence[Index]]
    ) -> list[tuple[float, float] | None]:
        return [None] * len(trials)

    def rows(self, place: Place) -> int:
        found = self.connection.execute(f"SELECT count(*) FROM {identifier(place.name)}").fetchone()  # noqa: S608
        return int(found[0])


def reason_of(error: Exception) -> str:
    """What SQLite said, where that names things and no values."""
    text = str(error)
    if text.startswith(("no such", "near", "index ", "non-deterministic", "too many")):
        return text
    return f"SQLite refuses it ({type(error).__name__})"
