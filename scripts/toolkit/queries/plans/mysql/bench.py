"""Statements and indexes on the scratch copy of MySQL or MariaDB.

CREATE INDEX ends a transaction there, so nothing is rolled back: an index is made invisible
(MySQL) or ignored (MariaDB), shown for a trial and hidden again, and another statement that asks
for the same one need not wait for it a second time.
"""

# ruff: noqa: S608  (names are quoted)

import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from toolkit.queries.finding import Index
from toolkit.queries.plans.bench import Built, Clock, Failed, Sample, Symptom, quickest
from toolkit.queries.plans.measure import Node
from toolkit.queries.plans.model import Limits, Place, create_index, for_mysql
from toolkit.queries.plans.mysql.source import quote
from toolkit.queries.plans.postgresql.plan import WASTE_ROWS, WASTE_SHARE
from toolkit.queries.plans.query import Query
from toolkit.queries.plans.values import NotRestored

WRITTEN_ROWS = 500
CLONED_ROWS = 10_000
WRITE_RUNS = 5
UNKNOWN = {1064, 1054, 1146, 1305, 1109}  # syntax, column, table, function: names, no values
TOO_LONG = {1969, 3024}
KEPT = re.compile(r"really keeps (\S+) %")


class MysqlBench:
    """The scratch copy; see `Bench`."""

    work_unit = "rows read"

    def __init__(self, connection: Connection, limits: Limits, clock: Clock) -> None:
        self.connection, self.limits, self.clock = connection, limits, clock
        version = str(connection.exec_driver_sql("SELECT version()").scalar_one())
        self.mariadb = "mariadb" in version.lower()
        number = tuple(int(part) for part in version.partition("-")[0].split(".")[:2])
        self.hides = number >= ((10, 6) if self.mariadb else (8, 0))
        self.hidden: dict[Index, Built] = {}
        """Indexes that are there and that the planner does not see."""

    # --- Running

    def sample(self, query: Query) -> Sample:
        try:
            sql, values = query.formatted
        except NotRestored as error:
            raise Failed(f"a parameter ({error}) was not kept") from None
        self.clock.check()
        try:
            before = self.handler_reads()
            spent = self.handler_reads() - before  # what looking costs
            start = self.handler_reads()
            self.timed(sql, values)
            work = self.handler_reads() - start - spent
            ms = quickest(lambda: self.timed(sql, values), most=self.limits.runs)
            plan = self.plan(sql, values)
            return Sample(ms, max(work, 0), plan, symptoms=tuple(scans(plan)))
        except DBAPIError as error:
            if number_of(error) in TOO_LONG:
                plan = self.plan(sql, values, run=False)
                return Sample(self.limits.statement_seconds * 1000, float("inf"), plan, slow=True)
            raise Failed(reason_of(error)) from None

    def timed(self, sql: str, values: tuple[Any, ...] = ()) -> float:
        self.clock.check()
        started = time.perf_counter()
        try:
            result = self.connection.exec_driver_sql(sql, values)
            if result.returns_rows:
                result.fetchall()
            return (time.perf_counter() - started) * 1000
        finally:
            self.connection.rollback()

    def handler_reads(self) -> int:
        rows = self.connection.exec_driver_sql("SHOW SESSION STATUS LIKE 'Handler_read%%'")
        return sum(int(value) for _, value in rows)

    def plan(self, sql: str, values: tuple[Any, ...], *, run: bool = True) -> Node:
        """A node for each table; with the rows that really came where MariaDB tells."""
        word = "ANALYZE" if self.mariadb and run else "EXPLAIN"
        try:
            rows = self.connection.exec_driver_sql(f"{word} {sql}", values).mappings().all()
        finally:
            self.connection.rollback()
        return Node(label="QUERY PLAN", children=tuple(node_of(dict(row)) for row in rows))

    # --- Indexes

    @contextmanager
    def built(self, indexes: Sequence[Index]) -> Iterator[list[Built]]:
        try:
            yield [self.show(index) for index in indexes]
        finally:
            for index in indexes:
                self.hide(index)

    def show(self, index: Index) -> Built:
        """Make it if it is not there, and let the planner see it. Raises Failed."""
        if index not in self.hidden:
            self.hidden[index] = self.build(index)
        elif self.hides:
            self.switch(index, shown=True)
        return self.hidden[index]

    def hide(self, index: Index) -> None:
        if index in self.hidden and self.hides:
            self.switch(index, shown=False)
        elif index in self.hidden:
            del self.hidden[index]
            self.remove(index)

    def switch(self, index: Index, *, shown: bool) -> None:
        word = "IGNORED" if self.mariadb else "VISIBLE"
        negated = shown if self.mariadb else not shown
        words = f"NOT {word}" if negated and self.mariadb else f"IN{word}" if negated else word
        table = quote(index.table)
        self.connection.exec_driver_sql(
            f"ALTER TABLE {table} ALTER INDEX {quote(index.name)} {words}"
        )

    def build(self, index: Index) -> Built:
        self.clock.check()
        before = self.size(index.table)
        started = time.perf_counter()
        try:
            self.connection.exec_driver_sql(
                create_index(for_mysql(index), "mysql").replace("%", "%%")
            )
        except DBAPIError as error:
            raise Failed(reason_of(error)) from None
        build_ms = (time.perf_counter() - started) * 1000
        self.analyze(index.table)
        return Built(self.size(index.table) - before, build_ms)

    def analyze(self, table: str) -> None:
        self.connection.exec_driver_sql(f"ANALYZE TABLE {quote(table)}").fetchall()

    def size(self, table: str) -> int:
        """Bytes of its indexes. InnoDB's own statistics of each are closed to most roles."""
        return int(
            self.connection.exec_driver_sql(
                "SELECT coalesce(index_length, 0) FROM information_schema.tables"
                " WHERE table_schema = database() AND table_name = %s",
                (table,),
            ).scalar_one()
        )

    def keep(self, index: Index) -> None:
        self.show(index)
        del self.hidden[index]

    def drop(self, index: Index) -> None:
        self.remove(index)

    def remove(self, index: Index) -> None:
        self.connection.exec_driver_sql(f"DROP INDEX {quote(index.name)} ON {quote(index.table)}")
        self.analyze(index.table)

    def write_ratio(self, index: Index) -> float | None:
        """Two clones of a part of the table, one of them without the index."""
        run, name = self.connection.exec_driver_sql, quote(index.table)
        clones = {"_clone_without": [], "_clone_with": []}  # type: dict[str, list[float]]
        try:
            for hidden in [one for one in self.hidden if one.table == index.table]:
                self.remove(hidden)
                del self.hidden[hidden]
            count = self.rows(Place("", index.table))
            kept = min(count - min(WRITTEN_ROWS, count // 2), CLONED_ROWS)
            for clone in clones:
                run(f"CREATE TABLE {clone} LIKE {name}")
            self.remove(replace(index, table="_clone_without"))
            for clone in clones:
                run(f"INSERT INTO {clone} SELECT * FROM {name} LIMIT {kept}")
            self.connection.commit()
            more = f"SELECT * FROM {name} LIMIT {kept}, {WRITTEN_ROWS}"
            for _ in range(WRITE_RUNS):
                for clone, found in clones.items():
                    found.append(self.timed(f"INSERT INTO {clone} {more}"))
        except DBAPIError:
            return None
        finally:
            for clone in clones:
                run(f"DROP TABLE IF EXISTS {clone}")
        without, with_it = (min(found) for found in clones.values())
        return max(with_it / without, 1.0) if without else None

    def estimates(
        self, _query: Query, trials: Sequence[Sequence[Index]]
    ) -> list[tuple[float, float] | None]:
        return [None] * len(trials)

    def rows(self, place: Place) -> int:
        sql = f"SELECT count(*) FROM {quote(place.name)}"
        return int(self.connection.exec_driver_sql(sql).scalar_one())


def node_of(row: dict[str, Any]) -> Node:
    """One line of EXPLAIN."""
    words = [str(row.get("type") or "?"), "on", str(row.get("table") or "-")]
    if row.get("key"):
        words.append(f"using {row['key']}")
    estimated = float(row["rows"]) if str(row.get("rows") or "").isdigit() else None
    really = row.get("r_rows")
    notes = [str(row["Extra"])] if row.get("Extra") else []
    if row.get("r_filtered") is not None:
        notes.append(f"really keeps {float(row['r_filtered']):.3g} % of the rows")
    return Node(
        label=" ".join(words),
        rows=float(really) if really is not None else None,
        estimated=estimated,
        notes=tuple(notes),
    )


def scans(plan: Node) -> Iterator[Symptom]:
    """Tables that are read as a whole for a few rows; only MariaDB tells how many stayed."""
    for node in plan.children:
        kind, _, table = node.label.partition(" on ")
        share = next((KEPT.match(note) for note in node.notes if KEPT.match(note)), None)
        rows = node.rows or 0
        if kind == "ALL" and share and rows >= WASTE_ROWS:
            kept = float(share[1]) / 100
            if 1 - kept >= WASTE_SHARE:
                yield Symptom(
                    "full-scan",
                    f"Reads {rows:,.0f} rows of {table} to keep {kept * rows:,.0f}.",
                    (f"{node.label}: {'; '.join(node.notes)}",),
                    table,
                    rows=rows,
                )


def number_of(error: DBAPIError) -> int:
    arguments = getattr(error.orig, "args", ())
    return int(arguments[0]) if arguments and isinstance(arguments[0], int) else 0


def reason_of(error: DBAPIError) -> str:
    number = number_of(error)
    if number in UNKNOWN - {1064}:
        return str(error.orig.args[1]) if error.orig else ""
    if number in TOO_LONG:
        return "it takes too long"
    return f"the server refuses it (error {number})"
