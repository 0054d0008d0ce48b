"""`--fix`: the indexes of the findings as a revision, written as generate-migration writes one.

Each is built while the service goes on writing, proved up, down and up again on a scratch
database, and reviewed, before the file is put into the project.
"""

import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from toolkit.migration.bench import Bench
from toolkit.migration.expand_contract import Index as BuiltIndex
from toolkit.migration.expand_contract import Table
from toolkit.migration.expand_contract.columns import NOTHING
from toolkit.migration.expand_contract.steps import create_index
from toolkit.migration.expand_contract.writing import Part, string, write
from toolkit.migration.expand_contract.writing import Step as BuildStep
from toolkit.migration.expanding import Step, in_place, named, prove, put_all_in_place
from toolkit.migration.generate import Wanted, bench_at_head, next_steps
from toolkit.project.facts import Project
from toolkit.queries.finding import Index, QueryFinding
from toolkit.queries.patches import options_of
from toolkit.report.finding import Finding

Say = Callable[[str], None]
TRIGRAMS = frozenset({"gin_trgm_ops", "gist_trgm_ops"})


@dataclass(frozen=True)
class Written:
    """What --fix put into the project."""

    steps: tuple[Step, ...]
    findings: tuple[Finding, ...]
    """What the review of the revision has to say."""
    notes: tuple[str, ...]
    commands: tuple[str, ...]


def indexes_of(findings: Iterable[QueryFinding]) -> list[Index]:
    """Each once, in the order of the findings; two layers may propose the same."""
    found: dict[tuple[object, ...], Index] = {}
    for one in findings:
        if one.fix and (index := one.fix.index):
            key = (index.schema, index.table, index.expressions, index.where, index.drop)
            found.setdefault(key, index)
    return list(found.values())


def write_revision(project: Project, indexes: Sequence[Index], wanted: Wanted, say: Say) -> Written:
    """Raises Refusal or DatabaseError; then the project is as it was."""
    with bench_at_head(project, wanted, say) as bench:
        there, missing = sort_out(bench, indexes)
        notes = [f"{one.name} is left out: {one.table} is not in the migrations" for one in missing]
        if not there:
            return Written((), (), tuple(notes), ())
        steps = revisions(bench, wanted.message, there)
        findings, more, _ = prove(bench, steps, say)
        placed, warnings = put_all_in_place(bench, steps, say)
        places = {
            str((bench.folder / old.path).resolve()): new.path
            for old, new in zip(steps, placed, strict=True)
        }
        commands = next_steps(bench.project, bench.situation, placed[0].path, [])
    return Written(
        tuple(placed),
        tuple(in_place(one, places) for one in findings),
        (*notes, *more, *warnings),
        tuple(commands),
    )


def sort_out(bench: Bench, indexes: Sequence[Index]) -> tuple[list[Index], list[Index]]:
    """Those to write, and those whose table the migrations do not make.

    One that the migrations make already is not written again: the database is behind.
    """
    schema = bench.schema()
    tables = {entry["table"] for entry in schema.get("column", {}).values()}
    made = {entry["name"] for entry in schema.get("index", {}).values()}
    missing = [one for one in indexes if one.table not in tables]
    there = [one for one in indexes if one.table in tables and (one.name in made) == one.drop]
    return there, missing


def revisions(bench: Bench, message: str, indexes: Sequence[Index]) -> list[Step]:
    """One revision for all, in our folder."""
    dialect = bench.scratch.kind
    steps = [step for one in indexes for step in steps_of(one, dialect)]
    head = bench.situation.head["revision"] if bench.situation.head else None
    extended = any(one.opclass in TRIGRAMS for one in indexes)
    expected = frozenset({"downgrade-leaves-trace"} if extended else ())
    written = write(
        [Part("expand", message, NOTHING, tuple(steps), expected=expected)],
        slug=uuid.uuid4().hex[:8],
        dialect=dialect,
        parent=head,
    )
    made = named(bench, Wanted(message), written)
    for step in made:
        path = bench.folder / step.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(step.text, encoding="utf-8")
    return made


def steps_of(index: Index, dialect: str) -> list[BuildStep]:
    made = create_index(Table(index.table, (), index.schema), built(index), dialect)
    if index.drop:
        return [made.reversed()]
    if index.opclass in TRIGRAMS:
        # Stays after a downgrade: others may have begun to use it.
        return [BuildStep(('op.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm")',)), made]
    return [made]


def built(index: Index) -> BuiltIndex:
    """As expand/contract describes an index: everything that is not a name is Python."""
    plain = all(key.isidentifier() for key in index.expressions)
    keys = () if plain else tuple(f"sa.text({string(key)})" for key in index.expressions)
    columns = tuple(key for key in index.expressions if key.isidentifier())
    return BuiltIndex(
        index.name, columns, index.unique, keys=keys, options=tuple(options_of(index, "sa.text"))
    )
