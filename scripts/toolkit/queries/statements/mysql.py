"""performance_schema's digests, of this database only."""

import re
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from toolkit.queries.statements.counted import Counted, Statistics, merged
from toolkit.queries.statements.shape import join_key

MOST = 1000
VARIABLES = """
SHOW GLOBAL VARIABLES WHERE variable_name IN ('performance_schema', 'max_digest_length')
"""
CONSUMER = """
SELECT enabled FROM performance_schema.setup_consumers WHERE name = 'statements_digest'
"""
STATISTICS = """
SELECT digest_text, count_star, sum_timer_wait / 1000000000, sum_rows_sent + sum_rows_affected,
       sum_rows_examined, sum_created_tmp_disk_tables, sum_sort_merge_passes
FROM performance_schema.events_statements_summary_by_digest
WHERE schema_name = database() AND digest_text IS NOT NULL
ORDER BY sum_timer_wait DESC LIMIT {most}
"""
ALL = """
SELECT coalesce(sum(sum_timer_wait), 0) / 1000000000
FROM performance_schema.events_statements_summary_by_digest WHERE schema_name = database()
"""
OFF = "performance_schema is off: put performance_schema = ON under [mysqld] and restart the server"
NOT_COUNTING = (
    "performance_schema does not count statements: UPDATE performance_schema.setup_consumers"
    " SET enabled = 'YES' WHERE name = 'statements_digest';"
)
NOT_ALLOWED = "this account may not read performance_schema: GRANT SELECT ON performance_schema.*"
_MARK = re.compile(r"\s*\.\.\.$")
_NAMES = re.compile(r"`((?:[^`]|``)*)`")
LONGEST_NAME = 200
"""Bytes: a text that ends this near to the limit may have been cut in front of a name."""
DENIED = {1142, 1044, 1227}


def read(connection: Connection) -> Statistics | str:
    """The most expensive statements; or, in a line, why there are none and what to do."""

    def rows(statement: str) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in connection.exec_driver_sql(statement)]

    variables = {str(name).lower(): str(value) for name, value in rows(VARIABLES)}
    if variables.get("performance_schema", "").upper() != "ON":
        return OFF
    limit = int(variables.get("max_digest_length", 1024))
    try:
        found = rows(STATISTICS.format(most=MOST))
        if not found and str((rows(CONSUMER) or [("YES",)])[0][0]) != "YES":
            return NOT_COUNTING
        all_ms = float(rows(ALL)[0][0])
    except DBAPIError as error:
        arguments = getattr(error.orig, "args", ())
        if arguments and arguments[0] in DENIED:
            return NOT_ALLOWED
        raise
    counted = []
    for text, calls, total, sent, examined, disk_tables, _ in found:
        words = str(text).rstrip()
        cut = is_cut(words, limit)
        counted.append(
            Counted(
                text=words,
                key=join_key(_MARK.sub("", words) if cut else words, mysql=True),
                calls=int(calls),
                total_ms=float(total),
                rows=int(sent),
                cut=cut,
                disk_tables=int(disk_tables),
                examined=int(examined),
            )
        )
    notes = ["MySQL does not count by account: statements of all of them are in the numbers"]
    return Statistics(merged(counted), all_ms, tuple(notes))


def is_cut(digest: str, limit: int) -> bool:
    """Was the statement longer than what the server keeps of it?

    MySQL marks that with three dots, MariaDB with nothing. The server counts two bytes for
    each token, and for a name two more and its length.
    """
    if digest.endswith("...") and not digest.endswith(("(...", "?, ...")):
        return True
    names = [len(name.encode()) for name in _NAMES.findall(digest)]
    others = len(_NAMES.sub("", digest).split())
    return sum(names) + 4 * len(names) + 2 * others >= limit - LONGEST_NAME
