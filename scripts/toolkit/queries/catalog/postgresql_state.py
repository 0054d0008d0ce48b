"""PostgreSQL: tables that are read whole, not analysed, not vacuumed; ids; settings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from toolkit.queries.catalog import postgresql_queries as queries
from toolkit.queries.catalog.judge import in_days, near_the_end, setting
from toolkit.queries.catalog.report import MANY_ROWS, Reader, Table, quoter
from toolkit.queries.finding import Confidence, Fix

HOT_SCANS = 100
HOT_ROWS = 10_000
MANY_DEAD = 10_000
HELD_SECONDS = 3600
quote = quoter("postgresql")


@dataclass
class State:
    """A table and what the server counted about it."""

    table: Table
    kind: str
    analysed: bool
    scans: int
    scanned_rows: int
    index_scans: int
    dead: int
    deleted: int
    writes: int
    autovacuum: str
    threshold: int | None
    scale: float | None
    vacuumed: str | None
    autovacuumed: str | None

    @property
    def autovacuum_is_off(self) -> bool:
        return self.autovacuum.lower() in {"false", "off", "no", "0", "f"}


def qualified(table: Table) -> str:
    return ".".join(quote(part) for part in (table.schema, table.name) if part)


def sequential_scans(reader: Reader, states: Sequence[State], days: float | None) -> None:
    """Large tables that are read whole, often."""
    for state in states:
        each = state.scanned_rows // max(state.scans, 1)
        if state.scans < HOT_SCANS or each < HOT_ROWS or state.table.rows < HOT_ROWS:
            continue
        if state.scans * 10 < state.index_scans:
            continue
        reader.add(
            "sequential-scans",
            Confidence.MEASURED,
            f"{state.table.full_name} is read whole again and again: {state.scans:,} times,"
            f" {each:,} rows each.",
            evidence=[
                f"{state.scans:,} sequential scans and {state.index_scans:,} by an index"
                + (f" in {in_days(days)}" if days is not None else ""),
                str(state.table),
            ],
            table=state.table,
            fix=Fix(
                "ddl",
                "-- the statements and plans layers name the statement and the index that it wants",
            ),
        )


def never_analysed(reader: Reader, states: Sequence[State], settings: Mapping[str, str]) -> None:
    """Tables with rows whose plans are guesses. Autovacuum cures it in minutes where it runs."""
    found = [s for s in states if not s.analysed and s.table.rows >= MANY_ROWS]
    off = [s for s in found if s.autovacuum_is_off or settings["autovacuum"] == "off"]
    for state in off:
        reader.add(
            "never-analysed",
            Confidence.MEASURED,
            f"{state.table.full_name} was never analysed and autovacuum is off for it: its"
            " plans are guesses.",
            evidence=[str(state.table)],
            table=state.table,
            fix=Fix("ddl", f"ANALYZE {qualified(state.table)};"),
        )
    waiting = [state.table for state in found if state not in off]
    if waiting:
        names = ", ".join(table.full_name for table in waiting[:5])
        more = f" and {len(waiting) - 5} more" if len(waiting) > 5 else ""
        reader.add(
            "never-analysed",
            Confidence.SUSPECTED,
            f"Not analysed yet: {names}{more}. Until then plans are guesses; autovacuum comes"
            " within minutes of a load.",
            evidence=[str(table) for table in waiting[:5]],
            fix=Fix("ddl", "ANALYZE;"),
        )


def held_back(reader: Reader) -> float:
    """For how many seconds the oldest transaction has been open."""
    return float(reader.rows(queries.HELD_BACK)[0][0] or 0)


def vacuum_lag(
    reader: Reader, states: Sequence[State], settings: Mapping[str, str], seconds: float
) -> None:
    """Dead rows far beyond what autovacuum should have let pile up; it was held up `seconds`."""
    for state in states:
        threshold = state.threshold
        if threshold is None:
            threshold = int(settings["autovacuum_vacuum_threshold"])
        scale = state.scale
        if scale is None:
            scale = float(settings["autovacuum_vacuum_scale_factor"])
        due = threshold + scale * state.table.rows
        if state.dead < max(MANY_DEAD, 2 * due):
            continue
        off = state.autovacuum_is_off or settings["autovacuum"] == "off"
        why = "autovacuum may be on its way"
        if off:
            why = "autovacuum is off for it"
        elif seconds > HELD_SECONDS:
            why = f"a transaction has been open for {seconds / 3600:.1f} hours, and holds it up"
        certain = off or seconds > HELD_SECONDS
        reader.add(
            "vacuum-lag",
            Confidence.MEASURED if certain else Confidence.SUSPECTED,
            f"{state.table.full_name} has {state.dead:,} dead rows, and autovacuum was due at"
            f" {due:,.0f}: scans read them all; {why}.",
            evidence=[str(state.table), f"last vacuum: {last(state)}"],
            table=state.table,
            fix=Fix("ddl", f"VACUUM (ANALYZE) {qualified(state.table)};"),
        )


def last(state: State) -> str:
    times = [one for one in (state.vacuumed, state.autovacuumed) if one]
    return max(times) if times else "never"


def ids(reader: Reader, tables: Mapping[int, Table]) -> None:
    """Columns whose sequence will run out of their type."""
    for oid, column, type_, end, value in reader.rows(queries.SEQUENCES):
        if (table := tables.get(int(oid))) is not None and value is not None:
            near_the_end(
                reader, table, str(column), type_,
                used=int(value), end=int(end), seen="the sequence is at",
            )  # fmt: skip


STATEMENTS = "pg_stat_statements"
FOREVER = "Statements may run for ever: one bad plan can take all connections."
# Setting, its value, and what is to be said about that.
SETTINGS = (
    ("track_counts", "off", Confidence.PROVED,
     "Nothing is counted about tables and indexes, and autovacuum cannot work.",
     "track_counts = on"),
    ("autovacuum", "off", Confidence.PROVED,
     "autovacuum is off: tables bloat, and statistics for plans grow old.", "autovacuum = on"),
    ("track_io_timing", "off", Confidence.PROVED,
     "Time spent on reading from disk is not measured, so plans and statistics do not show it.",
     "track_io_timing = on  # pg_test_timing shows what it costs"),
    *((name, "off", Confidence.PROVED,
       f"{name} is off for this role or database: the planner may not choose what is best.",
       f"{name} = on")
      for name in ("enable_seqscan", "enable_indexscan", "enable_nestloop", "enable_hashjoin")),
    ("random_page_cost", "4", Confidence.SUSPECTED,
     "random_page_cost is that of a spinning disk: on an SSD, indexes are used too late.",
     "random_page_cost = 1.1  # if the data lies on an SSD"),
    ("statement_timeout", "0", Confidence.SUSPECTED, FOREVER,
     "ALTER ROLE application SET statement_timeout = '30s';"),
)  # fmt: skip


def settings(reader: Reader, found: Mapping[str, str]) -> None:
    """Settings that hide problems; what is a matter of taste is suspected only."""
    libraries = found.get("shared_preload_libraries")  # only some roles may see it
    loaded = STATEMENTS in (libraries or "")
    if libraries is not None and not loaded:
        setting(
            reader,
            STATEMENTS,
            Confidence.PROVED,
            "pg_stat_statements is not loaded: the server does not know which statements take"
            " its time.",
            "shared_preload_libraries = 'pg_stat_statements'  # and a restart; then CREATE"
            " EXTENSION pg_stat_statements;",
            seen=f"shared_preload_libraries = {libraries!r}",
        )
    elif not reader.rows(queries.EXTENSION)[0][0]:
        setting(
            reader,
            STATEMENTS,
            Confidence.PROVED,
            "This database has no view of pg_stat_statements: which statements take its time"
            " cannot be asked.",
            "CREATE EXTENSION pg_stat_statements;",
            seen="pg_extension has no pg_stat_statements",
        )
    judged = list(SETTINGS)
    if not loaded:
        judged.append(
            ("log_min_duration_statement", "-1", Confidence.SUSPECTED,
             "Slow statements are not logged.", "log_min_duration_statement = '500ms'")
        )  # fmt: skip
    for name, bad, confidence, message, fix in judged:
        if found.get(name) == bad:
            setting(reader, name, confidence, message, fix, seen=f"{name} = {bad!r}")
