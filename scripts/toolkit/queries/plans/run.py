"""The layer, whichever database it is."""

import sqlite3
from collections.abc import Callable, Mapping, Sequence

from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError

from toolkit.database.errors import DatabaseError
from toolkit.database.scratch import Wish
from toolkit.database.urls import Kind, kind_of
from toolkit.queries.capture.record import Statement
from toolkit.queries.plans import sqlite
from toolkit.queries.plans.bench import Clock, Stopped
from toolkit.queries.plans.captured import Shape, shapes_of
from toolkit.queries.plans.findings import Facts, index_findings, measured
from toolkit.queries.plans.job import Job
from toolkit.queries.plans.model import Limits, PlansReport
from toolkit.queries.plans.mysql import run as on_mysql
from toolkit.queries.plans.parse import load_sqlglot
from toolkit.queries.plans.postgresql import run as on_postgresql
from toolkit.queries.plans.postgresql.rows import NoCopy
from toolkit.queries.plans.symptoms import symptom_findings
from toolkit.queries.plans.words import words_of
from toolkit.report.exits import Exit
from toolkit.report.masking import mask

MEASURES: dict[Kind, Callable[[URL, Sequence[Shape], Job], None]] = {
    "postgresql": on_postgresql.measure,
    "mysql": on_mysql.measure,
    "sqlite": sqlite.measure,
}


def measure_statements(
    url: URL,
    statements: Sequence[Statement],
    limits: Limits,
    units: Mapping[int, str],
    *,
    say: Callable[[str], None],
    wish: Wish | None,
) -> PlansReport:
    """See `toolkit.queries.plans.measure_statements`."""
    kind = kind_of(url.drivername)
    if kind is None:
        return PlansReport(skipped=f"{url.drivername} is no database that plans are read of")
    sqlglot, words = load_sqlglot()
    shapes = shapes_of(statements, kind, units)
    if not shapes:
        return PlansReport(skipped="no SELECT, UPDATE or DELETE of the application was captured")
    job = Job(kind, limits, Clock(limits.seconds), say, sqlglot, wish)
    shapes = [shape for shape in shapes if is_one(shape, job)]
    skipped = words if sqlglot is None else None
    if sqlglot is not None and words:
        job.notes.add(words)
    try:
        MEASURES[kind](url, shapes, job)
    except Stopped:
        job.stopped = True
    except DatabaseError as error:
        if error.problem.exit_code == Exit.INTERNAL:
            raise  # the server is not as it was: that is no matter of this layer alone
        skipped = one_line(str(error), url)
    except NoCopy as error:
        skipped = f"no scratch copy of the tables can be made: {error}"
    except sqlite.NoCopy as error:
        skipped = f"no scratch copy of the database can be made: {error}"
    except (SQLAlchemyError, sqlite3.Error, OSError, TimeoutError) as error:
        skipped = f"the database does not answer: {one_line(reason(error), url)}"
    if job.stopped:
        job.notes.add(f"after {limits.seconds:,.0f} s the rest was left out")
    return report(job, skipped)


def is_one(shape: Shape, job: Job) -> bool:
    """Is it one statement? It is said where it is several."""
    several = words_of(shape.query, job.kind).several
    if several:
        job.note(shape, "not measured: it is several statements")
    return not several


def report(job: Job, skipped: str | None) -> PlansReport:
    words = {}
    for place, count in job.rows.items():
        words[place.name] = f"{count:,} rows"
        if place.name in job.sampled:
            words[place.name] += f", {job.sampled[place.name]}"
    facts = Facts(job.kind, words, job.write_ratios, job.work_unit)
    findings = list(index_findings(job.verdicts, facts))
    for verdict in job.verdicts:
        findings += symptom_findings(verdict, job.kind, parser_missing=job.sqlglot is None)
    plans = [
        one for verdict in job.verdicts for one in measured(verdict, job.kind, job.write_ratios)
    ]
    return PlansReport(tuple(findings), tuple(plans), tuple(job.notes.lines), skipped)


def reason(error: BaseException) -> str:
    return str(getattr(error, "orig", None) or error or type(error).__name__)


def one_line(text: str, url: URL) -> str:
    password = [str(url.password)] if url.password else []
    return (mask(text, password).strip().splitlines() or ["no reason given"])[0]
