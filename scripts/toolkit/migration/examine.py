"""Run one revision on the bench, up, down and up again, and say what that showed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from toolkit.database.alembic_process import AlembicResult
from toolkit.database.catalog import Catalog, Difference, differences, round_trip
from toolkit.migration.bench import Bench, open_second
from toolkit.migration.missed import Missed, find_missed, preparation
from toolkit.report.finding import Finding, Verdict

Say = Callable[[str], None]


@dataclass(frozen=True)
class Revision:
    """A revision file that Alembic finds from the bench."""

    id: str
    parents: tuple[str, ...]
    """Also those that it only depends on."""
    path: str
    message: str = ""
    is_root: bool = False
    """The first of its branch, whatever it depends on."""

    @property
    def parent(self) -> str:
        """Where a downgrade of this one leads, as Alembic is told it."""
        if self.is_root and self.parents:
            return f"{self.id}@base"
        return self.parents[0] if self.parents else "base"


@dataclass
class Examination:
    """What was seen. Facts only: `toolkit.migration.review` judges the trace."""

    before: Catalog
    after: Catalog
    trace: dict[str, Any] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    """Of the round trip."""
    failure: tuple[str, AlembicResult] | None = None
    """The step that failed ("upgrade", "downgrade", "second upgrade") and how."""


def examine(bench: Bench, revision: Revision) -> Examination:
    """The scratch is at the revision's parent before, and at the revision after.

    A step that fails ends it; the scratch is then wherever the database left it.
    """
    before = bench.schema()
    result = bench.alembic("upgrade", revision.id, action="trace")
    bench.refuse_place(result, f"The revision {revision.id} can't be tried here")
    after = bench.schema() if not result.error else before
    seen = Examination(before, after, result.report.get("trace", {}))
    if result.error:
        seen.failure = "upgrade", result
        return seen
    result = bench.alembic("downgrade", revision.parent)
    if result.error:
        seen.failure = "downgrade", result
        return seen
    back = bench.schema()
    if left := round_trip(before, after, back):
        seen.findings.append(left_behind(revision, left))
    result = bench.alembic("upgrade", revision.id)
    if result.error:
        seen.failure = "second upgrade", result
        return seen
    if other := differences(after, bench.schema()):
        seen.findings.append(another_schema(revision, other))
    return seen


def left_behind(revision: Revision, left: Sequence[Difference]) -> Finding:
    if all(map(is_new_value, left)):
        return unlike(
            revision,
            "enum-value-stays",
            "PostgreSQL takes no value from an enum: it is there after the downgrade as well.",
            left,
            Verdict.STYLE,
        )
    if all(map(may_be_shared, left)):
        return unlike(
            revision,
            "shared-object-stays",
            "It is there after the downgrade as well: others may use it by then.",
            left,
            Verdict.STYLE,
        )
    message = "After upgrade and downgrade the schema is not the one before."
    return unlike(revision, "downgrade-leaves-trace", message, left)


def may_be_shared(one: Difference) -> bool:
    """Is it a new schema or extension, for which IF NOT EXISTS is written (#13)?"""
    return one.kind in {"schema", "extension"} and one.before is None and one.attribute is None


def is_new_value(one: Difference) -> bool:
    """Is it an enum that has the values it had, and more?"""
    return (
        one.kind == "enum"
        and one.attribute == "values"
        and set(one.before or ()) <= set(one.after or ())
    )


def another_schema(revision: Revision, other: Sequence[Difference]) -> Finding:
    message = "Upgraded again after a downgrade, the schema is another one."
    return unlike(revision, "second-upgrade-differs", message, other)


def unlike(
    revision: Revision,
    rule: str,
    message: str,
    differences: Sequence[Difference],
    verdict: Verdict = Verdict.IRREVERSIBLE,
) -> Finding:
    return Finding(
        rule=rule,
        verdict=verdict,
        message=message,
        evidence=tuple(in_words(one) for one in differences),
        revision=revision.id,
        file=revision.path,
        source="round-trip",
    )


def in_words(one: Difference) -> str:
    kind = one.kind.replace("_", " ")
    if one.attribute is not None:
        return f"{kind} {one.name}: {one.attribute} was {one.before!r}, is {one.after!r}"
    return f"{kind} {one.name} is {'new' if one.before is None else 'gone'}"


def make_models(bench: Bench, migrated: Catalog) -> AlembicResult:
    """Let the models make their tables on a second scratch database.

    The report has its `catalog`, and what env.py keeps from Alembic (`ignored`).
    """
    with open_second(bench) as second:
        return second.alembic(
            "current", action="create_all", prepare=preparation(migrated), version_location=None
        )


def compare_with_models(
    bench: Bench, migrated: Catalog, parent: Catalog | None
) -> tuple[list[Missed], list[str]]:
    """What the models describe and `migrated` lacks; and a note where that was not seen."""
    result = make_models(bench, migrated)
    if result.error:
        return [], [f"the models could not be compared object by object: {result.message}"]
    wanted: Catalog = result.report["catalog"]
    ignored: Sequence[Sequence[str | None]] = result.report.get("ignored", ())
    return find_missed(migrated, wanted, parent=parent, ignored=ignored), []


def drift(missed: Sequence[Missed], revision: Revision | None = None) -> list[Finding]:
    """A finding for each of what autogenerate did not see."""
    return [
        Finding(
            rule="missed-by-autogenerate",
            verdict=Verdict.DRIFT,
            message=f"Models and migrations differ: {one.words}.",
            revision=revision.id if revision else None,
            file=revision.path if revision else None,
            rewrite=code(one),
            source="catalog",
        )
        for one in missed
    ]


def code(missed: Missed) -> str:
    if not missed.upgrade_lines:
        return ""
    up, down = (
        "\n".join(f"    {line}" for line in lines)
        for lines in (missed.upgrade_lines, missed.downgrade_lines)
    )
    return f"def upgrade() -> None:\n{up}\n\n\ndef downgrade() -> None:\n{down}\n"
