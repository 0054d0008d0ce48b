"""The layer on MySQL and MariaDB: a copy of the tables by SELECT and INSERT, indexes on that."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError

from toolkit.database.scratch import open_scratch
from toolkit.queries.plans.captured import Shape
from toolkit.queries.plans.connections import on_connection
from toolkit.queries.plans.job import Job, parsed_of, try_all, worst
from toolkit.queries.plans.model import Place, Table
from toolkit.queries.plans.mysql import plain, source
from toolkit.queries.plans.mysql.bench import MysqlBench, number_of, reason_of
from toolkit.queries.plans.mysql.source import Copied, quote
from toolkit.queries.plans.parse import Parsed

LOOKED_AT = 10
NO_COLLATION = 1273
COLLATION = re.compile(r" COLLATE[ =]\w+")


@dataclass
class Reading:
    """What was read of the given database."""

    version: str = ""
    settings: dict[str, str] = field(default_factory=dict)
    shapes: list[Shape] = field(default_factory=list)
    """The worst, of those that can be run on a copy."""
    tables: dict[Shape, dict[Place, Table]] = field(default_factory=dict)
    copies: list[Copied] = field(default_factory=list)


def measure(url: URL, shapes: Sequence[Shape], job: Job) -> None:
    """Fill `job` with verdicts and notes. Without a parser there is no telling which tables
    a statement needs.
    """
    if job.sqlglot is None:
        return
    job.say("reading the plans of the database")
    reading = on_connection(url, lambda one: read(one, url, shapes, job), job.clock)
    if not reading.shapes:
        return
    with open_scratch("mysql", server_url=url, wish=job.wish) as scratch:
        job.note_scratch(scratch)
        for copied in reading.copies:
            if copied.share < 1:
                job.sampled[copied.table.place.name] = (
                    f"measured on a sample of {copied.share:.3g} of its rows; the times are the"
                    " sample's"
                )

        def work(connection: Connection) -> None:
            if (here := source.version(connection)) != reading.version:
                job.note_versions(here, reading.version)
            missing = fill(connection, url, reading.copies, job)
            chosen = [shape for shape in reading.shapes if has_all(shape, reading, missing, job)]
            take_over(connection, reading.settings)
            source.limit_statements(connection, job.limits.statement_seconds)
            connection.rollback()
            try_all(MysqlBench(connection, job.limits, job.clock), chosen, reading.tables, job)

        on_connection(scratch.url, work, job.clock)


def read(connection: Connection, url: URL, shapes: Sequence[Shape], job: Job) -> Reading:
    """The worst statements, their tables, and how to copy these."""
    source.begin(connection, job.limits)
    reading = Reading(source.version(connection), source.settings(connection))
    tables, functions = source.read_tables(connection), plain.read_functions(connection)
    found: list[Shape] = []
    statements = {}
    for one in shapes[: LOOKED_AT * job.limits.statements]:
        parsed = parsed_of(one, job)
        if parsed is None:
            continue
        if one.query.missing:
            job.note(one, f"not measured: a parameter ({one.query.missing}) was not kept")
            continue
        shape = replace(one, query=plain.within(one.query, parsed, str(url.database)))
        parsed = parsed_of(shape, job) or parsed
        if why := why_not(parsed, tables, functions):
            job.note(shape, f"not measured: {why}")
            continue
        reading.tables[shape] = {place: tables[place.name] for place in parsed.tables()}
        statements[len(found)] = shape.query.formatted
        found.append(shape)
    costs, lean = source.costs(connection, statements)
    reading.shapes = [found[number] for number in worst(costs, lean, job)]
    needed = {
        table.place: table for one in reading.shapes for table in reading.tables[one].values()
    }
    reading.copies = source.read_copies(connection, list(needed.values()), job.limits)
    return reading


def why_not(parsed: Parsed, tables: Mapping[str, Table], functions: plain.Functions) -> str:
    """Why the statement is neither planned nor run; empty where it is plain."""
    places = parsed.tables()
    strange = sorted(place for place in places if place.schema or place.name not in tables)
    if strange or not places:
        name = ".".join(filter(None, (strange[0].schema, strange[0].name))) if strange else ""
        return (
            f"it reads {name or 'nothing'}, which is no table of this database"
            " that holds its rows itself"
        )
    return plain.why_not(parsed, functions)


def has_all(shape: Shape, reading: Reading, missing: Mapping[Place, str], job: Job) -> bool:
    """Are its tables on the copy? It is said where they are not."""
    lacking = [place for place in reading.tables[shape] if place in missing]
    if lacking:
        words = f"not measured: {lacking[0].name} can't be made on the scratch server"
        job.note(shape, f"{words}: {missing[lacking[0]]}")
    return not lacking


def take_over(connection: Connection, settings: Mapping[str, str]) -> None:
    """What plans depend on, as far as this server knows it."""
    for name, value in settings.items():
        known = value if value.lstrip("-").replace(".", "", 1).isdigit() else f"'{value}'"
        with suppress(DBAPIError):
            connection.exec_driver_sql(f"SET SESSION {name} = {known}")


def made_table(connection: Connection, ddl: str, job: Job) -> str:
    """Make it; why it can't be made. MySQL and MariaDB have collations that the other lacks."""
    try:
        connection.exec_driver_sql(ddl.replace("%", "%%"))
    except DBAPIError as error:
        other = COLLATION.sub("", ddl)
        if number_of(error) != NO_COLLATION or other == ddl:
            return reason_of(error)
        job.notes.add("the scratch server lacks a collation of the given one: it sorts otherwise")
        return made_table(connection, other, job)
    return ""


def fill(connection: Connection, url: URL, copies: Sequence[Copied], job: Job) -> dict[Place, str]:
    """Tables and rows of the copy; those that can't be made, with the reason."""
    run = connection.exec_driver_sql
    # The folders that a table's definition may name are the given server's.
    run("SET SESSION foreign_key_checks = 0, unique_checks = 0, sql_mode = 'NO_DIR_IN_CREATE'")
    whys = {copied.table.place: made_table(connection, copied.ddl, job) for copied in copies}
    missing = {place: why for place, why in whys.items() if why}
    made = [copied for copied in copies if copied.table.place not in missing]

    def load(copied: Copied, batches: Iterator[list[tuple[Any, ...]]]) -> None:
        job.say(f"copying {copied.table.place.name} to a scratch database")
        names = ", ".join(map(quote, copied.columns))
        marks = ", ".join(["%s"] * len(copied.columns))
        insert = f"INSERT INTO {quote(copied.table.place.name)} ({names}) VALUES ({marks})"  # noqa: S608
        for batch in batches:
            run(insert, batch)
        connection.commit()

    source.copy_rows(url, job.limits, job.clock, made, load)
    for copied in made:
        run(f"ANALYZE TABLE {quote(copied.table.place.name)}").fetchall()
    run("SET SESSION sql_mode = ''")
    return missing
