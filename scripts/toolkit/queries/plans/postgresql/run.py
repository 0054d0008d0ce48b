"""The layer on PostgreSQL: plans of the given database, a copy of its tables, indexes on that."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.engine import URL

from toolkit.database.scratch import execute, open_scratch
from toolkit.queries.plans.captured import Shape
from toolkit.queries.plans.connections import on_connection
from toolkit.queries.plans.job import Job, parsed_of, try_all, worst
from toolkit.queries.plans.model import Place, Table
from toolkit.queries.plans.postgresql import definition, plain, plan, rows, source
from toolkit.queries.plans.postgresql.bench import PostgresBench
from toolkit.queries.plans.postgresql.place import copy_database
from toolkit.queries.plans.symptoms import no_statistics

LOOKED_AT = 10
"""Times the statements that are measured: so many are explained, to find the worst."""


@dataclass
class Reading:
    """What was read of the given database."""

    strange: plain.Strange
    shapes: list[Shape] = field(default_factory=list)
    """The worst, of those that can be planned."""
    tables: dict[Shape, dict[Place, Table]] = field(default_factory=dict)
    """By their names in the statement and by their own."""
    oids: dict[int, Place] = field(default_factory=dict)
    """What has to be copied."""


def measure(url: URL, shapes: Sequence[Shape], job: Job) -> None:
    """Fill `job` with verdicts and notes."""
    job.say("reading the plans of the database")
    reading = on_connection(url, lambda one: read(one, shapes, job), job.clock)
    if not reading.shapes:
        return
    with open_scratch("postgresql", server_url=url, wish=job.wish) as scratch, ExitStack() as stack:
        job.note_scratch(scratch)

        def copy_out(connection: Connection) -> tuple[definition.Schema, list[rows.Dumped]]:
            source.begin(connection, job.limits)
            schema = definition.read_schema(connection, reading.oids)
            found = {t.place: t for some in reading.tables.values() for t in some.values()}
            sizes = {place: found[place].bytes for place in reading.oids.values()}
            percents = rows.shares(sizes, job.limits.copy_bytes)
            return schema, rows.dump(
                connection, schema, percents, files=stack, clock=job.clock, say=job.say
            )

        schema, dumped = on_connection(url, copy_out, job.clock)
        copy = stack.enter_context(copy_database(scratch, schema, job))
        fill(copy, schema, dumped, job)
        for one in dumped:
            if one.percent is not None:
                job.sampled[one.table.place.name] = (
                    f"measured on a sample of {one.percent:.3g} % of its rows; the times are the"
                    " sample's"
                )
        on_connection(copy, lambda one: try_on(one, schema, reading, job), job.clock)


def read(connection: Connection, shapes: Sequence[Shape], job: Job) -> Reading:
    """Plans of all, tables of the worst."""
    source.begin(connection, job.limits)
    shapes = shapes[: LOOKED_AT * job.limits.statements]
    strange = plain.read_strange(connection, [shape.query for shape in shapes])
    shapes = [shape for shape in shapes if is_plain(connection, shape, strange, job)]
    found = source.read_plans(connection, [shape.query for shape in shapes])
    costs: dict[int, float] = {}
    lean: set[int] = set()
    plans: dict[int, dict[str, Any]] = {}
    for number, (each, reason) in enumerate(zip(found.plans, found.reasons, strict=True)):
        if each is None:
            job.note(shapes[number], f"not explained: {reason}")
        elif reason:
            job.note(shapes[number], f"not measured: {reason}")
        else:
            plans[number] = each["Plan"]
            costs[number] = plan.to_spare(each["Plan"]) * shapes[number].executions
            if plan.is_lean(each["Plan"]):
                lean.add(number)
    reading = Reading(strange)
    for number in worst(costs, lean, job):
        add(connection, reading, shapes[number], plans[number], job)
    return reading


def is_plain(connection: Connection, shape: Shape, strange: plain.Strange, job: Job) -> bool:
    """May it be planned on the given database? It is said where it may not."""

    def tables() -> set[int] | None:
        parsed = parsed_of(shape, job)
        if parsed is None:
            return None
        return set(source.resolve(connection, parsed.tables(), source.ONE).values())

    why = plain.why_not(shape.query, strange, tables)
    if why:
        job.note(shape, f"not measured: {why}")
    return not why


def add(
    connection: Connection,
    reading: Reading,
    shape: Shape,
    tree: dict[str, Any],
    job: Job,
) -> None:
    """Note what a statement needs, unless one of its tables can't be copied."""
    parsed = parsed_of(shape, job)
    names = {Place(schema, name) for schema, name in plan.relations(tree)}
    names |= parsed.tables() if parsed else set()
    oids = source.resolve(connection, names)
    tables = source.read_tables(connection, oids.values())
    whys = [why for _, why in tables.values() if why]
    strange = reading.strange.relations
    whys += [strange[oid] for oid in tables if oid in strange]
    if whys or not tables:
        job.note(shape, f"not measured: {whys[0] if whys else 'it reads no table'}")
        return
    known = {place: tables[oid][0] for place, oid in oids.items()}
    known |= {table.place: table for table, _ in tables.values()}
    reading.shapes.append(shape)
    reading.tables[shape] = known
    reading.oids |= {oid: table.place for oid, (table, _) in tables.items()}


def fill(copy: URL, schema: definition.Schema, dumped: Sequence[rows.Dumped], job: Job) -> None:
    """Tables, rows and indexes of the copy."""

    def work(connection: Connection) -> list[str]:
        notes = definition.make_schema(connection, schema)
        # For candidates; where it can't be had, a finding says so.
        definition.extend(connection, "pg_trgm")
        for one in dumped:
            job.clock.check()
            rows.load(connection, one)
        for one in dumped:
            job.clock.check()
            notes += definition.make_indexes(connection, one.table)
        connection.commit()
        return notes

    for note in on_connection(copy, work, job.clock):
        job.notes.add(note)
    # Also the visibility map, without which no index alone answers anything.
    execute(copy, "VACUUM (ANALYZE)")


def try_on(connection: Connection, schema: definition.Schema, reading: Reading, job: Job) -> None:
    """The search on the copy."""
    definition.session(connection, schema, int(job.limits.statement_seconds * 1000))
    connection.commit()
    here, version = definition.read_locale(connection)
    if str(here) != str(schema.locale):
        job.notes.add(
            f"the scratch database sorts text as {here}, the given one as {schema.locale}"
        )
    if version != schema.version:
        job.note_versions(f"PostgreSQL {version}", f"PostgreSQL {schema.version}")
    schemas = {place.name: place.schema for place in reading.oids.values()}
    bench = PostgresBench(connection, job.limits, job.clock, schemas)
    definition.session(connection, schema, int(job.limits.statement_seconds * 1000))
    connection.commit()
    try_all(bench, reading.shapes, reading.tables, job)
    tables = {t.place: t for some in reading.tables.values() for t in some.values()}
    counts = {place: bench.rows(place) for place in tables}
    for line in no_statistics((table, counts[place]) for place, table in tables.items()):
        job.notes.add(line)
