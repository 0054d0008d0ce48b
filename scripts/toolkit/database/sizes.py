"""How large and how busy the tables of a real database are. Reads statistics, nothing else."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, text
from sqlalchemy.engine import URL

from toolkit.database.connecting import on_connection
from toolkit.database.urls import kind_of

SECONDS = 15.0
"""For all of it: a busy server must not wait for us, nor we for it."""

READ_ONLY = {
    "postgresql": "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
    "mysql": "SET SESSION TRANSACTION READ ONLY",
}
QUERIES = {
    # reltuples is -1 before the first ANALYZE.
    "postgresql": """
        SELECT n.nspname, c.relname, greatest(c.reltuples, 0)::bigint,
               pg_total_relation_size(c.oid),
               (s.n_tup_ins + s.n_tup_upd + s.n_tup_del)
               / nullif(extract(epoch FROM now() - coalesce(
                   d.stats_reset, pg_postmaster_start_time())), 0)::float
        FROM pg_class c
        JOIN pg_namespace n ON n.oid = c.relnamespace
        JOIN pg_stat_database d ON d.datname = current_database()
        LEFT JOIN pg_stat_all_tables s ON s.relid = c.oid
        WHERE c.relkind IN ('r', 'p', 'm') AND n.nspname NOT IN ('pg_catalog', 'information_schema')
    """,
    "mysql": """
        SELECT '', table_name, coalesce(table_rows, 0),
               coalesce(data_length, 0) + coalesce(index_length, 0), NULL
        FROM information_schema.tables WHERE table_schema = database()
    """,
}


@dataclass(frozen=True)
class TableSize:
    """Estimates of the server's own statistics."""

    rows: int
    bytes: int
    writes_per_second: float | None
    """Rows inserted, updated and deleted since the statistics began; None: not counted."""

    def __str__(self) -> str:
        words = f"about {self.rows:,} rows, {in_units(self.bytes)}"
        if self.writes_per_second is not None:
            words += f", {self.writes_per_second:.3g} row changes a second"
        return words


def in_units(size: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1024:
            return f"{size:,.0f} {unit}" if size >= 100 else f"{size:.3g} {unit}"
        size /= 1024
    return f"{size:.3g} TB"


def table_sizes(url: URL) -> Mapping[str, TableSize]:
    """By name, with the schema unless it is PostgreSQL's `public`. Reads only.

    Raises what the driver raises, TimeoutError, and ValueError for a kind of database that
    has no such statistics (SQLite).
    """
    kind = kind_of(url.drivername)
    if kind not in QUERIES:
        raise ValueError("statistics are read from PostgreSQL and MySQL only")

    def read(connection: Connection) -> list[Any]:
        connection.execute(text(READ_ONLY[kind]))
        connection.commit()
        return list(connection.execute(text(QUERIES[kind])))

    rows = on_connection(url, read, seconds=SECONDS)
    return {
        name if schema in {"", "public"} else f"{schema}.{name}": TableSize(
            int(count), int(size), None if writes is None else float(writes)
        )
        for schema, name, count, size, writes in rows
    }
