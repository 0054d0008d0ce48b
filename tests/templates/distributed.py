"""The distributed PostgreSQLs that somebody has given for the tests."""

import os

VARIABLES = ("TEST_COCKROACH_URL", "TEST_YUGABYTE_URL", "TEST_CITUS_URL")
GIVEN = {name: os.environ[name] for name in VARIABLES if os.environ.get(name)}


def not_tried() -> str:
    """A line for the summary; empty where all are given."""
    missing = [name for name in VARIABLES if name not in GIVEN]
    return f"distributed PostgreSQLs not tried, without {', '.join(missing)}" if missing else ""
