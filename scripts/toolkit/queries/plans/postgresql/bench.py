"""Statements and indexes on the scratch copy: every trial is rolled back."""

# ruff: noqa: S608  (names are quoted)

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from toolkit.queries.finding import Index
from toolkit.queries.plans.bench import Built, Clock, Failed, Sample, quickest
from toolkit.queries.plans.model import Limits, Place, create_index
from toolkit.queries.plans.postgresql import plan as plans
from toolkit.queries.plans.postgresql.definition import extend
from toolkit.queries.plans.postgresql.source import explain, reason_of
from toolkit.queries.plans.query import Query
from toolkit.queries.plans.values import NotRestored
from toolkit.report.quoting import qualified

WRITTEN_ROWS = 500
CLONED_ROWS = 10_000
WRITE_RUNS = 5
BUILD_FACTOR = 3
"""A build may take so many times what a statement may."""
PLAIN_KEY = re.compile(r'(?:\w+|"(?:[^"]|"")*")(?: DESC| ASC)?(?: NULLS (?:FIRST|LAST))?')


class PostgresBench:
    """The scratch copy; see `Bench`."""

    work_unit = "pages"

    def __init__(
        self,
        connection: Connection,
        limits: Limits,
        clock: Clock,
        schemas: Mapping[str, str],
    ) -> None:
        """`schemas`: table name to schema, for tables that DDL may name without it."""
        self.connection, self.limits, self.clock, self.schemas = connection, limits, clock, schemas
        self.hypothetical = extend(connection, "hypopg")
        connection.commit()

    def sample(self, query: Query) -> Sample:
        """First with the plan's times, which warms the caches; then without them, which cost."""
        try:
            sql = query.inlined
        except NotRestored as error:
            raise Failed(f"a parameter ({error}) was not kept") from None
        self.clock.check()
        try:
            first = self.run(sql, "ANALYZE, BUFFERS")
            ms = first["Execution Time"]
            if written_rows(first["Plan"]) <= WRITTEN_ROWS:
                ms = quickest(lambda: self.timed(sql), most=self.limits.runs)
        except DBAPIError as error:
            if getattr(error.orig, "sqlstate", "") == "57014":
                plan = plans.tree(self.estimated(sql)["Plan"])
                seconds = self.limits.statement_seconds
                return Sample(seconds * 1000, float("inf"), plan, slow=True)
            raise Failed(reason_of(error)) from None
        pages = plans.buffers(first["Plan"])
        found = tuple(plans.symptoms(first["Plan"]))
        return Sample(ms, pages, plans.tree(first["Plan"]), pages, found)

    def timed(self, sql: str) -> float:
        self.clock.check()
        return float(self.run(sql, "ANALYZE, TIMING OFF, BUFFERS OFF")["Execution Time"])

    def run(self, sql: str, options: str) -> dict[str, Any]:
        """In a savepoint that is rolled back: it may be an UPDATE."""
        savepoint = self.connection.begin_nested()
        try:
            return explain(self.connection, sql, options)
        finally:
            savepoint.rollback()

    def estimated(self, sql: str) -> dict[str, Any]:
        return self.run(sql, "COSTS")

    @contextmanager
    def built(self, indexes: Sequence[Index]) -> Iterator[list[Built]]:
        savepoint = self.connection.begin_nested()
        try:
            yield [self.build(index) for index in indexes]
        finally:
            savepoint.rollback()

    def build(self, index: Index) -> Built:
        """Make it in the transaction that is open. Raises Failed."""
        self.clock.check()
        run = self.connection.exec_driver_sql
        started = time.perf_counter()
        try:
            run(f"SET LOCAL statement_timeout = {self.build_limit()}")
            run(create_index(index, "postgresql"))
        except DBAPIError as error:
            raise Failed(reason_of(error)) from None
        build_ms = (time.perf_counter() - started) * 1000
        if not all(PLAIN_KEY.fullmatch(key) for key in index.expressions):
            run(f"ANALYZE {self.name(index)}")  # an expression has statistics of its own
        run(f"SET LOCAL statement_timeout = {int(self.limits.statement_seconds * 1000)}")
        size = self.connection.execute(
            text("SELECT pg_relation_size(to_regclass(:name))"),
            {"name": qualified(self.schema(index), index.name)},
        ).scalar_one()
        return Built(int(size), build_ms)

    def build_limit(self) -> int:
        """Milliseconds: some builds take longer than any statement may."""
        seconds = min(BUILD_FACTOR * self.limits.statement_seconds, max(self.clock.left, 0.001))
        return int(seconds * 1000) + 1

    def keep(self, index: Index) -> None:
        with self.connection.begin_nested():
            self.build(index)
        self.connection.commit()

    def drop(self, index: Index) -> None:
        self.connection.exec_driver_sql(f"DROP INDEX {qualified(self.schema(index), index.name)}")
        self.connection.commit()

    def schema(self, index: Index) -> str:
        return index.schema or self.schemas[index.table]

    def name(self, index: Index) -> str:
        return qualified(self.schema(index), index.table)

    def write_ratio(self, index: Index) -> float | None:
        """Two clones of a part of the table, one of them with the index: what is written into
        the copy itself and rolled back would leave its pages there.
        """
        run, name = self.connection.exec_driver_sql, self.name(index)
        outer = self.connection.begin_nested()
        try:
            count = self.rows(Place(self.schema(index), index.table))
            kept = min(count - min(WRITTEN_ROWS, count // 2), CLONED_ROWS)
            for clone in ("_clone_without", "_clone_with"):
                run(f"CREATE TEMP TABLE {clone} (LIKE {name} INCLUDING INDEXES)")
                run(f"INSERT INTO {clone} SELECT * FROM {name} LIMIT {kept}")
            more = f"SELECT * FROM {name} OFFSET {kept} LIMIT {WRITTEN_ROWS}"
            run(f"CREATE TEMP TABLE _more AS {more}")
            run(create_index(replace(index, table="_clone_with", schema=None), "postgresql"))
            times: dict[str, list[float]] = {"_clone_without": [], "_clone_with": []}
            for _ in range(WRITE_RUNS):
                for clone, found in reversed(times.items()):
                    found.append(self.timed(f"INSERT INTO {clone} SELECT * FROM _more"))
        except DBAPIError:
            return None
        finally:
            outer.rollback()
        without, with_it = (min(found) for found in times.values())
        return max(with_it / without, 1.0) if without else None

    def estimates(
        self, query: Query, trials: Sequence[Sequence[Index]]
    ) -> list[tuple[float, float] | None]:
        if not self.hypothetical:
            return [None] * len(trials)
        self.clock.check()
        sql = query.inlined
        before = float(self.estimated(sql)["Plan"]["Total Cost"])
        found = []
        for trial in trials:
            cost = self.estimate(sql, trial)
            found.append(None if cost is None else (before, cost))
        return found

    def estimate(self, sql: str, trial: Sequence[Index]) -> float | None:
        """The cost with indexes that are not there; None where HypoPG can't have them (GIN)."""
        savepoint = self.connection.begin_nested()
        try:
            for index in trial:
                self.connection.execute(
                    text("SELECT hypopg_create_index(:ddl)"),
                    {"ddl": create_index(index, "postgresql")},
                )
            return float(self.estimated(sql)["Plan"]["Total Cost"])
        except DBAPIError:
            return None
        finally:
            savepoint.rollback()
            self.connection.exec_driver_sql("SELECT hypopg_reset()")

    def rows(self, place: Place) -> int:
        name = qualified(place.schema, place.name)
        found = self.connection.exec_driver_sql(f"SELECT count(*) FROM {name}").scalar_one()
        return int(found)


def written_rows(plan: Mapping[str, Any]) -> float:
    """Rows that an UPDATE or DELETE has touched: rolled back, they leave their pages behind."""
    if plan["Node Type"] != "ModifyTable":
        return 0.0
    return float(plan["Plans"][0].get("Actual Rows", 0)) if plan.get("Plans") else 0.0
