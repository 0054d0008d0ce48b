"""Makes a connection unable to change anything, or to wait for long."""

from sqlalchemy import Connection

from toolkit.database.urls import Kind

STATEMENT_SECONDS = 15
LOCK_SECONDS = 2


def begin_reading(connection: Connection, kind: Kind) -> None:
    """Call it first: it begins the transaction in which everything is read.

    What it sets ends with the transaction (PostgreSQL) or with the connection, so that a
    pooler in between hands on nothing.
    """
    if kind == "postgresql":
        connection.exec_driver_sql("SET TRANSACTION READ ONLY")
        for name, seconds in (
            ("statement_timeout", STATEMENT_SECONDS),
            ("lock_timeout", LOCK_SECONDS),
        ):
            connection.exec_driver_sql(f"SET LOCAL {name} = '{seconds}s'")
        connection.exec_driver_sql("SET LOCAL jit = off")
    elif kind == "mysql":
        connection.exec_driver_sql("SET SESSION TRANSACTION READ ONLY")
        if getattr(connection.dialect, "is_mariadb", False):
            limit = f"SET SESSION max_statement_time = {STATEMENT_SECONDS}"
        else:
            limit = f"SET SESSION max_execution_time = {STATEMENT_SECONDS * 1000}"
        connection.exec_driver_sql(limit)
        connection.exec_driver_sql(f"SET SESSION lock_wait_timeout = {LOCK_SECONDS}")
        # The next transaction is the first that is read only.
        connection.commit()
    else:
        connection.exec_driver_sql("PRAGMA query_only = ON")
