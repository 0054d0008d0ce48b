"""Findings about plans that no index cures, or that say why none is used."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from toolkit.database.urls import Kind
from toolkit.queries.finding import Fix, QueryFinding
from toolkit.queries.plans.bench import Symptom
from toolkit.queries.plans.findings import base, number
from toolkit.queries.plans.model import Table, quoted
from toolkit.queries.plans.parse import Parsed
from toolkit.queries.plans.postgresql.plan import OFFSET_ROWS
from toolkit.queries.plans.search import Verdict
from toolkit.report.text import counted

SCANNED_ROWS = 50_000
"""Rows that a scan throws away for nothing before it is a finding without a cure: fewer are a few
milliseconds, of which one run would speak and the next would not.
"""
LEAST_MS = 2.0
"""Of a statement that is worth a word when there is no index to offer."""
NARROW = (
    "# where the long columns are not used\nselect(Model).options(load_only(Model.id, Model.title))"
)
KEYSET = (
    "Ask for the rows after the last one seen, by the columns of ORDER BY with the key at the end:"
    "\nselect(Model).where(tuple_(Model.created_at, Model.id) < (last_created_at, last_id))"
    "\n    .order_by(Model.created_at.desc(), Model.id.desc()).limit(20)"
)


def symptom_findings(
    verdict: Verdict, kind: Kind, *, parser_missing: bool
) -> Iterator[QueryFinding]:
    """What is still wrong with all indexes that were chosen."""
    after = verdict.after
    seen: set[str] = set()
    if kind != "postgresql":
        wild = list(wildcard_findings(verdict))
        yield from wild
        seen |= {"full-scan"} if wild else set()
    for symptom in (*after.symptoms, *verdict.symptoms):
        if symptom.rule in seen:
            continue
        seen.add(symptom.rule)
        if symptom.rule == "full-scan":
            yield from full_scan(verdict, symptom, parser_missing)
        elif symptom.rule in ("sort-spills", "hash-spills"):
            yield spill(verdict, symptom)
        elif symptom.rule == "deep-offset":
            found = base(symptom.rule, verdict, symptom.message, symptom.evidence)
            yield replace(found, fix=Fix("code", KEYSET))
        elif symptom.rule == "wide-rows":
            found = base(symptom.rule, verdict, symptom.message, symptom.evidence)
            yield replace(found, fix=Fix("code", NARROW))
        elif symptom.rule == "misestimate" and after.ms >= LEAST_MS:
            yield misestimate(verdict, symptom)


def paging_symptoms(verdict: Verdict, parsed: Parsed | None, kind: Kind) -> list[Symptom]:
    """What the plans of SQLite and MySQL do not tell: the rows that OFFSET throws away."""
    offset, limit = parsed.paging() if parsed and kind != "postgresql" else (0, 0)
    read = verdict.before.work
    if offset < OFFSET_ROWS or offset < 10 * limit or read < offset:
        return []
    message = f"OFFSET reads {offset:,} rows and throws them away to return {limit:,}."
    return [Symptom("deep-offset", message, (f"LIMIT {limit:,} OFFSET {offset:,}",))]


def wildcard_findings(verdict: Verdict) -> Iterator[QueryFinding]:
    """LIKE with a leading wildcard, where there is no kind of index for it (not PostgreSQL)."""
    terms = [(use.name, term.sql) for use in verdict.uses for term in use.wildcard]
    if terms and not verdict.chosen and verdict.after.ms >= LEAST_MS:
        table, column = terms[0]
        message = f"LIKE with a leading wildcard on {table}.{column} reads every row."
        words = "Search in words: FULLTEXT and MATCH in MySQL, the extension FTS5 in SQLite."
        found = base("leading-wildcard", verdict, message, [number(verdict.after)])
        yield replace(found, table=table, fix=Fix("code", words))


def full_scan(verdict: Verdict, symptom: Symptom, parser_missing: bool) -> Iterator[QueryFinding]:
    """Why the whole table is read: the reason that is known, or that no index helped."""
    table = next((one for one in verdict.tables.values() if one.place.name == symptom.table), None)
    cast = [name for name in symptom.columns if table and is_indexed(table, name)]
    volatile = [one for one, why in verdict.refused if "IMMUTABLE" in why]
    wild = [one for one, why in verdict.refused if one.method == "gin" and "gin_trgm_ops" in why]
    evidence = list(symptom.evidence)
    if cast:
        found = base(
            "cast-defeats-index",
            verdict,
            f"{cast[0]} is converted in every row to be compared, so its index is of no use.",
            evidence,
        )
        fix = Fix("code", f"Compare {cast[0]} with a value of its own type.")
    elif volatile:
        expression = volatile[0].keys[0].sql
        found = base(
            "function-on-column",
            verdict,
            f"{expression} is computed for every row, and depends on settings, so that no index"
            " can hold it.",
            evidence,
        )
        fix = Fix("code", "Compare the bare column with a range: column >= start, column < end.")
    elif verdict.refused and verdict.tried == len(verdict.refused) and not wild:
        expression = verdict.refused[0][0].keys[0].sql
        found = base(
            "function-on-column",
            verdict,
            f"{expression} is computed for every row, and this server has no index for that.",
            evidence,
        )
        words = (
            "Compare the bare column, or keep the computed value in an indexed generated column."
        )
        fix = Fix("code", words)
    elif wild:
        found = base(
            "leading-wildcard",
            verdict,
            f"LIKE with a leading wildcard on {wild[0].keys[0].sql} reads every row.",
            [*evidence, "pg_trgm is not available on the scratch server: an index was not tried"],
        )
        fix = None
    else:
        were = "was" if verdict.tried == 1 else "were"
        tried = (
            f"{counted(verdict.tried, 'index')} {were} built for it, and none is worth its upkeep"
        )
        if parser_missing:
            tried = "no indexes were tried: sqlglot is not installed"
        elif not verdict.tried:
            tried = not_tried(verdict, table)
        if symptom.rows < SCANNED_ROWS:
            return
        found, fix = base("full-scan", verdict, symptom.message, [*evidence, tried]), None
    yield replace(found, table=symptom.table, fix=fix)


def not_tried(verdict: Verdict, table: Table | None) -> str:
    """Why no index was built for a table that is read from end to end."""
    uses = [
        use
        for use in verdict.uses
        if table and (own := verdict.tables.get(use.place)) and own.place == table.place
    ]
    asked = {
        (quoted(term.sql) if term.column else term.sql)
        for use in uses
        for term in (*use.equal, *use.many, *use.joined, *use.ranges, *use.prefix, *use.wildcard)
    }
    for index in table.indexes if table else ():
        if index.keys[0] in asked and not index.where:
            return (
                f"{index.name} begins with {index.keys[0]}, which it asks for: so many values are"
                " faster to find in the whole table"
            )
    if asked:
        return "of the indexes that its conditions could use, none makes its plan cheaper"
    return "its conditions leave nothing that an index could hold"


def is_indexed(table: Table, column: str) -> bool:
    return any(index.keys[0] in (column, quoted(column)) for index in table.indexes)


def spill(verdict: Verdict, symptom: Symptom) -> QueryFinding:
    found = base(symptom.rule, verdict, symptom.message, symptom.evidence)
    words = (
        "Fetch fewer rows or columns, or give this transaction more memory:"
        " SET LOCAL work_mem = '64MB'"
    )
    return replace(found, fix=Fix("setting", words))


def misestimate(verdict: Verdict, symptom: Symptom) -> QueryFinding:
    """Fresh statistics were used, so it is not their age: the columns depend on each other."""
    found = base(symptom.rule, verdict, symptom.message, symptom.evidence)
    table = next((one for one in verdict.tables.values() if one.place.name == symptom.table), None)
    columns = [name for name in symptom.columns if table and name in table.columns]
    fix = None
    if table and len(columns) > 1:
        name = "_".join(["st", table.place.name, *columns])[:63]
        place = ".".join(filter(None, (table.written, table.place.name)))
        text = (
            f"CREATE STATISTICS {quoted(name)} ON {', '.join(map(quoted, columns))} FROM {place};"
        )
        fix = Fix("ddl", f"{text}\nANALYZE {place};")
    return replace(found, table=symptom.table, fix=fix)


def no_statistics(tables: Iterable[tuple[Table, int]]) -> list[str]:
    """Notes about tables of which the given database knows nothing."""
    return [
        f"the given database has no statistics of {table.place.name} ({rows:,} rows): its own plans"
        f" are guesses until ANALYZE {table.place.name}"
        for table, rows in tables
        if rows and not any(column.distinct for column in table.columns.values())
    ]
