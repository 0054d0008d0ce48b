"""pg_stat_statements, of this database only."""

from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from toolkit.queries.statements.counted import Counted, Statistics, merged
from toolkit.queries.statements.shape import join_key
from toolkit.report.quoting import identifier

MOST = 1000
INSTALLED = """
SELECT n.nspname, e.extversion FROM pg_catalog.pg_extension e
JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'pg_stat_statements'
"""
COLUMNS = """
SELECT attname FROM pg_catalog.pg_attribute
WHERE attrelid = pg_catalog.to_regclass('{view}') AND attnum > 0 AND NOT attisdropped
"""
STATISTICS = """
SELECT query, calls, {total}, rows, userid = current_user::regrole, shared_blks_hit,
       shared_blks_read, temp_blks_written, sum({total}) OVER ()
FROM {view}
WHERE dbid = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())
  AND query IS NOT NULL
ORDER BY {total} DESC LIMIT {most}
"""
HIDDEN = "<insufficient privilege>"
REMEDY = (
    "pg_stat_statements is not installed in this database: set shared_preload_libraries ="
    " 'pg_stat_statements', restart the server, and run CREATE EXTENSION pg_stat_statements;"
)
NOT_LOADED = (
    "pg_stat_statements has its view here but is not loaded: set shared_preload_libraries ="
    " 'pg_stat_statements' and restart the server"
)
NOT_ALLOWED = "this role may not see pg_stat_statements: GRANT pg_read_all_stats TO the role"


def read(connection: Connection) -> Statistics | str:
    """The most expensive statements; or, in a line, why there are none and what to do."""

    def rows(statement: str) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in connection.exec_driver_sql(statement)]

    rows("SELECT pg_catalog.set_config('search_path', 'pg_catalog', true)")
    installed = rows(INSTALLED)
    if not installed:
        return REMEDY
    view = f"{identifier(installed[0][0])}.pg_stat_statements"
    columns = {str(name) for (name,) in rows(COLUMNS.format(view=view.replace("'", "''")))}
    total = "total_exec_time" if "total_exec_time" in columns else "total_time"
    try:
        found = rows(STATISTICS.format(total=total, view=view, most=MOST))
    except DBAPIError as error:
        text = str(error.orig)
        if "shared_preload_libraries" in text:
            return NOT_LOADED
        if "permission denied" in text:
            return NOT_ALLOWED
        raise
    return statistics(found)


def statistics(found: list[tuple[Any, ...]]) -> Statistics | str:
    visible = [row for row in found if row[0] != HIDDEN]
    hidden = len(found) - len(visible)
    if hidden and not visible:
        return NOT_ALLOWED
    counted = [
        Counted(
            text=str(row[0]),
            key=join_key(str(row[0])),
            calls=int(row[1]),
            total_ms=float(row[2]),
            rows=int(row[3]),
            own=bool(row[4]),
            blocks_hit=int(row[5]),
            blocks_read=int(row[6]),
            spilled_blocks=int(row[7]),
        )
        for row in visible
    ]
    notes = []
    if hidden:
        notes.append(
            f"{hidden} statements of other roles are hidden from this one"
            " (GRANT pg_read_all_stats shows them)"
        )
    if len(found) == MOST:
        notes.append(f"only the {MOST} statements with the most time were looked at")
    return Statistics(merged(counted), float(found[0][8]) if found else 0.0, tuple(notes))
