"""The layer on MySQL and MariaDB: a copy of the tables by SELECT and INSERT, indexes on that."""

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.engine import URL

from toolkit.database.scratch import open_scratch
from toolkit.queries.plans.captured import Shape
from toolkit.queries.plans.connections import on_connection
from toolkit.queries.plans.job import Job, parsed_of, try_all, worst
from toolkit.queries.plans.model import Place, Table
from toolkit.queries.plans.mysql import source
from toolkit.queries.plans.mysql.bench import MysqlBench
from toolkit.queries.plans.mysql.source import Copied, quote

LOOKED_AT = 10


def measure(url: URL, shapes: Sequence[Shape], job: Job) -> None:
    """Fill `job` with verdicts and notes. Without a parser there is no telling which tables
    a statement needs.
    """
    if job.sqlglot is None:
        return
    job.say("reading the plans of the database")
    chosen, known, copies = on_connection(url, lambda one: read(one, shapes, job), job.clock)
    if not chosen:
        return
    with open_scratch("mysql", server_url=url) as scratch:
        job.note_scratch(scratch)
        for copied in copies:
            if copied.share < 1:
                job.sampled[copied.table.place.name] = (
                    f"measured on a sample of {copied.share:.3g} of its rows; the times are the"
                    " sample's"
                )

        def work(connection: Connection) -> None:
            fill(connection, url, copies, job)
            source.limit_statements(connection, job.limits.statement_seconds)
            connection.rollback()
            try_all(MysqlBench(connection, job.limits, job.clock), chosen, known, job)

        on_connection(scratch.url, work, job.clock)


def read(
    connection: Connection, shapes: Sequence[Shape], job: Job
) -> tuple[list[Shape], dict[Shape, dict[Place, Table]], list[Copied]]:
    """The worst statements, their tables, and how to copy these."""
    source.begin(connection, job.limits)
    tables = source.read_tables(connection)
    known: dict[Shape, dict[Place, Table]] = {}
    statements = {}
    for number, shape in enumerate(shapes[: LOOKED_AT * job.limits.statements]):
        parsed = parsed_of(shape, job)
        if parsed is None:
            continue
        if shape.query.missing:
            job.note(shape, f"not measured: a parameter ({shape.query.missing}) was not kept")
            continue
        places = parsed.tables()
        strange = [place for place in places if place.schema or place.name not in tables]
        if strange or not places:
            name = strange[0].name if strange else "nothing"
            job.note(shape, f"not measured: it reads {name}, which is no table of this database")
            continue
        known[shape] = {place: tables[place.name] for place in places}
        statements[number] = shape.query.formatted
    costs, lean = source.costs(connection, statements)
    chosen = [shapes[number] for number in worst(costs, lean, job)]
    needed = {table.place: table for one in chosen for table in known[one].values()}
    return chosen, known, source.read_copies(connection, list(needed.values()), job.limits)


def fill(connection: Connection, url: URL, copies: Sequence[Copied], job: Job) -> None:
    """Tables and rows of the copy; foreign keys are not looked at, so their tables may lack."""
    run = connection.exec_driver_sql
    run("SET SESSION foreign_key_checks = 0, unique_checks = 0, sql_mode = ''")
    for copied in copies:
        run(copied.ddl.replace("%", "%%"))

    def load(copied: Copied, batches: Iterator[list[tuple[Any, ...]]]) -> None:
        job.say(f"copying {copied.table.place.name} to a scratch database")
        names = ", ".join(map(quote, copied.columns))
        marks = ", ".join(["%s"] * len(copied.columns))
        insert = f"INSERT INTO {quote(copied.table.place.name)} ({names}) VALUES ({marks})"  # noqa: S608
        for batch in batches:
            run(insert, batch)
        connection.commit()

    source.copy_rows(url, job.limits, job.clock, copies, load)
    for copied in copies:
        run(f"ANALYZE TABLE {quote(copied.table.place.name)}").fetchall()
