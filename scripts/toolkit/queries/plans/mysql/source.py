"""The given MySQL or MariaDB database: its tables and their rows. Only read."""

import queue
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError

from toolkit.queries.plans.bench import Clock, Stopped
from toolkit.queries.plans.connections import on_connection
from toolkit.queries.plans.model import Column, ExistingIndex, Limits, Place, Table, quoted
from toolkit.report.quoting import identifier

BATCH = 1000
LOCK_SECONDS = 1
LOOK_UPS = ("system", "const", "eq_ref")
"""Ways to reach a table by which it gives one row at most."""
ENGINES = frozenset({"innodb", "rocksdb", "myisam", "aria", "memory"})
"""Those whose tables hold their own rows. A MERGE, FEDERATED, CONNECT or SPIDER table is another
one, also when it is made again elsewhere."""
TABLES = """
    SELECT t.table_name, coalesce(t.table_rows, 0),
           coalesce(t.data_length, 0) + coalesce(t.index_length, 0), t.engine
    FROM information_schema.tables t
    WHERE t.table_schema = database() AND t.table_type = 'BASE TABLE'
"""
COLUMNS = """
    SELECT table_name, column_name, column_type, extra, data_type FROM information_schema.columns
    WHERE table_schema = database() ORDER BY table_name, ordinal_position
"""
INDEXES = """
    SELECT table_name, index_name, non_unique, column_name, index_type, cardinality, seq_in_index
    FROM information_schema.statistics WHERE table_schema = database()
    ORDER BY table_name, index_name, seq_in_index
"""
SETTINGS = re.compile(
    r"optimizer_(?!trace)\w+|eq_range_index_dive_limit|join_buffer_size|join_cache_level"
    r"|max_heap_table_size|tmp_table_size|sort_buffer_size|read_rnd_buffer_size|use_stat_tables"
    r"|range_alloc_block_size"
)
FOREIGN_KEY = re.compile(r"\s+CONSTRAINT (?:`[^`]+`|\"[^\"]+\") FOREIGN KEY ")
NEXT_NUMBER = re.compile(r" DEFAULT \(?nextval\((?:`[^`]+`\.)?`[^`]+`\)\)?", re.I)
TABLESPACE = re.compile(r"(?:/\*!\d+ )?\s*TABLESPACE[ =]+`[^`]+`(?: \*/)?")


@dataclass(frozen=True)
class Copied:
    """A table as the scratch copy makes it."""

    table: Table
    ddl: str
    columns: tuple[str, ...]
    """Those that may be written: generated ones make themselves."""
    share: float
    """Of the rows that are copied."""


def begin(connection: Connection, limits: Limits) -> None:
    """One snapshot, in which nothing can be written and nothing waits for long."""
    run = connection.exec_driver_sql
    run(f"SET SESSION lock_wait_timeout = {LOCK_SECONDS}")
    run(f"SET SESSION innodb_lock_wait_timeout = {LOCK_SECONDS}")
    # As the copy has it. Also what comes after a transaction that the server ended reads only.
    run("SET SESSION sql_mode = ''")
    run("SET SESSION TRANSACTION READ ONLY")
    limit_statements(connection, limits.statement_seconds)
    connection.rollback()
    run("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    run("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")


def limit_statements(connection: Connection, seconds: float) -> None:
    """A SELECT ends after so long; MariaDB counts in seconds, MySQL in milliseconds."""
    for setting in (
        f"max_statement_time = {seconds}",
        f"max_execution_time = {int(seconds * 1000)}",
    ):
        with suppress(DBAPIError):
            connection.exec_driver_sql(f"SET SESSION {setting}")


def read_tables(connection: Connection) -> dict[str, Table]:
    """The tables of the database that the URL names, as far as they hold their rows."""
    columns: dict[str, dict[str, Column]] = {}
    for table, name, kind, _, data in connection.exec_driver_sql(COLUMNS):
        enum = data == "enum" or kind == "tinyint(1)"
        columns.setdefault(table, {})[name] = Column(name, kind, None, enum)
    keys: dict[str, dict[str, list[Any]]] = {}
    for row in connection.exec_driver_sql(INDEXES):
        keys.setdefault(row[0], {}).setdefault(row[1], []).append(row)
    found = {}
    for name, rows, size, engine in connection.exec_driver_sql(TABLES):
        if str(engine).lower() not in ENGINES:
            continue
        mine = keys.get(name, {})
        indexes = [
            ExistingIndex(
                index, tuple(quoted(str(part[3])) for part in parts), not parts[0][2],
                str(parts[0][4]).lower(),
            )
            for index, parts in mine.items()
        ]  # fmt: skip
        found[name] = Table(
            Place("", name), columns.get(name, {}), tuple(indexes), int(rows), int(size), "",
            frozenset(mine),
        )  # fmt: skip
    return found


def read_copies(connection: Connection, tables: Sequence[Table], limits: Limits) -> list[Copied]:
    """How to make the tables again, and how much of each fits. Small ones go first."""
    written: dict[str, list[str]] = {}
    for table, name, _, extra, _ in connection.exec_driver_sql(COLUMNS):
        # DEFAULT_GENERATED is a default, not a generated column.
        if "GENERATED" not in str(extra).upper().replace("DEFAULT_GENERATED", ""):
            written.setdefault(table, []).append(name)
    found, left = [], limits.copy_bytes
    order = sorted(tables, key=lambda table: table.bytes)
    for number, table in enumerate(order):
        fair = left / (len(order) - number)
        share = min(1.0, fair / table.bytes) if table.bytes else 1.0
        left -= min(table.bytes, int(fair))
        name = quote(table.place.name)
        ddl = connection.exec_driver_sql(f"SHOW CREATE TABLE {name}").one()[1]
        found.append(Copied(table, alone(ddl), tuple(written[table.place.name]), share))
    return found


def alone(ddl: str) -> str:
    """The table as SHOW CREATE TABLE writes it, without what ties it to others: foreign keys
    would hinder who writes into the tables that they name, a tablespace and a sequence are shared.
    """
    first, *lines = ddl.split("\n")
    end = next(number for number, line in enumerate(lines) if line.startswith(")"))
    kept = [
        NEXT_NUMBER.sub("", line.rstrip(",")) for line in lines[:end] if not FOREIGN_KEY.match(line)
    ]
    return "\n".join([first, ",\n".join(kept), *(TABLESPACE.sub("", it) for it in lines[end:])])


def quote(name: str) -> str:
    # A percent sign is doubled for the driver.
    return identifier(name, "mysql").replace("%", "%%")


class Pipe:
    """Rows from one connection to another, which live in threads of their own."""

    def __init__(self, clock: Clock) -> None:
        self.queue: queue.Queue[list[tuple[Any, ...]] | BaseException | None] = queue.Queue(8)
        self.clock = clock

    def put(self, item: list[tuple[Any, ...]] | BaseException | None) -> None:
        while True:
            self.clock.check()
            with suppress(queue.Full):
                self.queue.put(item, timeout=0.2)
                return

    def batches(self) -> Iterator[list[tuple[Any, ...]]]:
        """Until the end of a table. Raises what the reading side raised."""
        while True:
            try:
                item = self.queue.get(timeout=0.2)
            except queue.Empty:
                self.clock.check()
                continue
            if isinstance(item, BaseException):
                raise item
            if item is None:
                return
            yield item


def copy_rows(
    url: URL,
    limits: Limits,
    clock: Clock,
    copies: Sequence[Copied],
    load: Callable[[Copied, Iterator[list[tuple[Any, ...]]]], None],
) -> None:
    """Read all tables in one snapshot, while `load` writes what comes."""
    pipe = Pipe(clock)

    def read(connection: Connection) -> None:
        begin(connection, limits)
        limit_statements(connection, max(clock.left, 0.1))
        for copied in copies:
            names = ", ".join(map(quote, copied.columns))
            sql = f"SELECT {names} FROM {quote(copied.table.place.name)}"  # noqa: S608
            if copied.share < 1:
                sql += f" WHERE rand() < {copied.share:.6f}"
            options = connection.execution_options(stream_results=True)
            result = options.exec_driver_sql(sql)
            for part in result.partitions(BATCH):
                pipe.put([tuple(row) for row in part])
            pipe.put(None)

    def run() -> None:
        try:
            on_connection(url, read, clock)
        except Stopped:
            return
        except BaseException as error:
            with suppress(Stopped):
                pipe.put(error)

    reader = threading.Thread(target=run)
    reader.start()
    try:
        for copied in copies:
            load(copied, pipe.batches())
    except BaseException:
        clock.ended.set()
        raise
    finally:
        reader.join()


def version(connection: Connection) -> str:
    """`MariaDB 10.11`: what decides about plans."""
    text = str(connection.exec_driver_sql("SELECT version()").scalar_one())
    numbers = ".".join(text.partition("-")[0].split(".")[:2])
    return f"{'MariaDB' if 'mariadb' in text.lower() else 'MySQL'} {numbers}"


def settings(connection: Connection) -> dict[str, str]:
    """What the session's planner goes by."""
    rows = connection.exec_driver_sql("SHOW SESSION VARIABLES")
    return {str(name): str(value) for name, value in rows if SETTINGS.fullmatch(str(name))}


def costs(
    connection: Connection, statements: Mapping[int, tuple[str, tuple[Any, ...]]]
) -> tuple[dict[int, float], set[int]]:
    """Rows that the planner expects to read, by statement; 0 where it does not tell. And the
    statements that look single rows up by their keys, and do nothing else.
    """
    found: dict[int, float] = {}
    lean: set[int] = set()
    for number, (sql, values) in statements.items():
        try:
            rows = connection.exec_driver_sql(f"EXPLAIN {sql}", values).mappings().all()
        except DBAPIError:
            # Also of an UPDATE, which is not planned in a transaction that reads only.
            found[number] = 0.0
            continue
        product = 1.0
        for row in rows:
            product *= max(float(row.get("rows") or 1), 1.0)
        found[number] = product
        if rows and all(row.get("type") in LOOK_UPS for row in rows):
            lean.add(number)
    return found, lean
