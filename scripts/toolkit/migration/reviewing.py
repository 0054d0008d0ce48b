"""Review revisions that exist: one, all, or (`--check`) what a build server wants to know."""

import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from toolkit.database.alembic_process import AlembicResult
from toolkit.database.catalog import Catalog, Difference, differences, round_trip
from toolkit.database.sizes import TableSize
from toolkit.database.urls import TITLES, Kind
from toolkit.migration.bench import Bench, open_bench
from toolkit.migration.examine import (
    Examination,
    Revision,
    another_schema,
    compare_with_models,
    drift,
    examine,
    left_behind,
)
from toolkit.migration.generate import (
    expect_comparison,
    is_nothing_yet,
    nothing_yet,
    refuse_empty,
)
from toolkit.migration.refusal import Refusal
from toolkit.migration.review import review
from toolkit.migration.review.one_transaction import STAYS_LOCKED
from toolkit.migration.several import Others, open_others
from toolkit.migration.situation import (
    choose_setup,
    look,
    refuse_unimported,
    refuse_unregistered,
    shown,
)
from toolkit.migration.words import in_words
from toolkit.project.facts import Project
from toolkit.report.exits import Exit
from toolkit.report.finding import Finding, Verdict
from toolkit.report.quoting import script

Say = Callable[[str], None]
Trace = dict[str, Any]
NOT_MIGRATED = "not-migrated"
"""The rule of what the models have and no revision."""


@dataclass(frozen=True)
class Reviewed:
    """What was looked at, and what that showed, the worst first."""

    revisions: tuple[str, ...]
    findings: tuple[Finding, ...]
    notes: tuple[str, ...]
    scratch: str

    @property
    def exit_code(self) -> Exit:
        verdicts = {one.verdict for one in self.findings}
        if any(one.rank <= Verdict.IRREVERSIBLE.rank for one in verdicts):
            return Exit.HAZARDS
        return Exit.DRIFT if Verdict.DRIFT in verdicts else Exit.OK


def review_existing(
    project: Project,
    target: str | None,
    *,
    dialect: str | None,
    timeout: float,
    say: Say,
    check: bool = False,
    dialects: Sequence[Kind] = (),
) -> Reviewed:
    """Run and judge the revision `target` (an id, its beginning, a file, "head"), or all (None).

    With `check`, also compare the models with the result, as generate would. Raises Refusal
    or DatabaseError. Nothing is written.
    """
    setup = choose_setup(project)
    with ExitStack() as stack:
        say(f"reading {shown(setup.env, project.root)} and the migration history")
        situation = look(project, setup, dialect, timeout, say, branches=True)
        bench = stack.enter_context(open_bench(project, situation, timeout))
        say(f"scratch database: {bench.place}")
        history = read_history(bench)
        notes: list[str] = []
        extra: list[Finding] = []
        before: Sequence[Trace] = ()
        if not history:
            if not check:
                raise no_revisions()
            chosen: list[Revision] = []
            trace: Trace = {}
        elif target is None:
            chosen, trace, extra, notes = review_all(bench, history, say)
        else:
            chosen = [choose(history, target)]
            before, trace, extra = review_one(bench, chosen[0], say)
        broken = any(one.rule.endswith("-fails") for one in extra) or has_error(trace)
        if check and not broken:
            say("comparing the models with it")
            if situation.branches and target is not None:  # so far only its own branch is there
                result = bench.alembic("upgrade", "heads")
                bench.expect(result, "The other branches do not run", "Review them: --all.")
            bench, others = open_others(bench, dialects, stack, say)
            more, compared = compare(bench, chosen[-1] if chosen else None)
            extra += more
            notes += [*compared, *others.notes]
            more, compared = compare_others(others, chosen[-1] if chosen else None, say)
            extra += more
            notes += compared
    if not trace:
        return Reviewed((), tuple(extra), tuple(notes), bench.place)
    judged = review(trace, extra=extra, before=before)
    return Reviewed(
        tuple(one.id for one in chosen),
        tuple(judged.findings),
        (*situation.notes, *notes, *judged.notes),
        bench.place,
    )


def has_error(trace: Mapping[str, Any]) -> bool:
    return any(revision.get("error") for revision in trace.get("revisions", ()))


def read_history(bench: Bench) -> list[Revision]:
    """All revisions, each after those that it builds on."""
    result = bench.alembic("history", action="history")
    bench.expect(result, "Alembic cannot read the migration history", "Repair the file it names.")
    return [
        Revision(
            one["revision"],
            tuple(one["parents"]),
            one["path"],
            one["message"] or "",
            is_root=one["parent"] is None,
        )
        for one in result.report["history"]
    ]


def no_revisions() -> Refusal:
    return Refusal(
        "revision",
        Exit.USAGE,
        "The project has no revisions yet.",
        f'Generate one: {script("generate-migration.sh")} "first tables"',
    )


def choose(history: Sequence[Revision], target: str) -> Revision:
    """The revision that `target` names. Raises Refusal when there is none, or several."""
    if target == "head":
        return history[-1]
    path = Path(target).resolve()
    exact = [one for one in history if one.id == target or Path(one.path).resolve() == path]
    found = exact or [one for one in history if one.id.startswith(target)]
    if len(found) == 1:
        return found[0]
    raise Refusal(
        "revision",
        Exit.USAGE,
        f"{'Several revisions begin' if found else 'No revision begins'} with {target}"
        + ("." if found else ", and it is no revision's file."),
        "Name one by its id or its file; --all reviews them all.",
        [f"{one.id}  {one.message}" for one in found or history[-5:]],
    )


def review_one(
    bench: Bench, revision: Revision, say: Say
) -> tuple[list[Trace], Trace, list[Finding]]:
    """What the revisions before it did; what it did; and its way back."""
    say(f"upgrading it to what {revision.id} builds on")
    before: list[Trace] = []
    for parent in revision.parents:
        result = bench.alembic("upgrade", parent, action="trace", only=STAYS_LOCKED)
        bench.expect(
            result,
            "The revisions before it do not run on an empty database",
            "Review those first: --review REVISION, or --all.",
        )
        before += result.report.get("trace", {}).get("revisions", ())
    say(f"running {revision.id}: upgrade, downgrade, upgrade")
    seen = examine(bench, revision)
    if seen.failure is not None:
        refuse_env(bench, seen.failure[1], seen.trace)
    return before, seen.trace, [*seen.findings, *failure(seen, revision)]


def refuse_env(bench: Bench, result: AlembicResult, trace: Trace) -> None:
    """Raise Refusal where env.py, or what it calls, stops before any revision begins (#12)."""
    file = str((result.error or {}).get("where") or "").rpartition(":")[0]
    own = [str(folder) for folder in bench.situation.setup.versions]
    if file and not trace.get("revisions") and str(Path(file).parent) not in own:
        bench.expect(result, "No revision can be tried", "Repair it, then run this again.")


def failure(seen: Examination, revision: Revision) -> list[Finding]:
    """The way back, or forth again, that does not work. Of an upgrade, the trace tells."""
    if seen.failure is None or (seen.failure[0] == "upgrade" and has_error(seen.trace)):
        return []
    step, result = seen.failure
    if step == "second upgrade" and value_is_there(result.message):
        return [value_twice(revision)]
    rule = step.replace(" ", "-") + "-fails"
    return [stopped(revision, rule, f"The {step} fails: {result.message}", step)]


def value_is_there(message: str) -> bool:
    return bool(re.search(r"enum label .* already exists", message))


def value_twice(revision: Revision) -> Finding:
    return Finding(
        rule="enum-value-twice",
        verdict=Verdict.STYLE,
        message="After a downgrade the value is still there, and ADD VALUE fails the next time:"
        " write ADD VALUE IF NOT EXISTS.",
        revision=revision.id,
        file=revision.path,
        source="round-trip",
    )


def stopped(revision: Revision, rule: str, message: str, step: str) -> Finding:
    verdict = Verdict.FAILS if step == "upgrade" else Verdict.IRREVERSIBLE
    return Finding(
        rule=rule,
        verdict=verdict,
        message=message,
        revision=revision.id,
        file=revision.path,
        source="round-trip",
    )


def review_all(
    bench: Bench, history: Sequence[Revision], say: Say
) -> tuple[list[Revision], Trace, list[Finding], list[str]]:
    """Up one by one, reading what each did; back the same way; and up again.

    One that stops is stamped, and the rest is tried without it: what stops after it may do so
    because of it, and is not judged. Those that were looked at, their trace, findings, and notes.
    """
    schemas = [bench.schema()]
    trace: Trace = {}
    findings: list[Finding] = []
    looked_at: list[Revision] = []
    notes: list[str] = []
    failed: Revision | None = None
    for revision in history:
        say(f"running {revision.id} {revision.message}".rstrip())
        result = bench.alembic("upgrade", revision.id, action="trace")
        bench.refuse_place(result, f"The revision {revision.id} can't be tried here")
        if not result.error:
            schemas.append(bench.schema())
        elif failed is not None:
            words = result.message.splitlines()[0]
            notes.append(f"{revision.id} was not looked at: without {failed.id} it stops ({words})")
            bench.alembic("stamp", revision.id)
            continue
        looked_at.append(revision)
        one = result.report.get("trace", {})
        refuse_env(bench, result, one)
        trace = {**one, "revisions": [*trace.get("revisions", []), *one.get("revisions", [])]}
        if result.error:
            failed = revision
            if not has_error(trace):
                findings.append(
                    stopped(revision, "upgrade-fails", f"It fails: {result.message}", "upgrade")
                )
            bench.alembic("stamp", revision.id)
    if failed is not None:
        notes.insert(0, f"the way back was not tried, since {failed.id} does not run")
        return looked_at, trace, findings, notes
    say("and back")
    findings += go_back(bench, history, schemas)
    return looked_at, trace, findings, notes


def go_back(bench: Bench, history: Sequence[Revision], schemas: Sequence[Catalog]) -> list[Finding]:
    """Each downgrade against the schema that the revision before had made. What later ones
    left behind on the way is theirs."""
    found: list[Finding] = []
    straight = all(list(one.parents) == [before.id] for before, one in itertools.pairwise(history))
    # Where branches meet, "one back" is not one schema: only the whole way is compared.
    steps = (
        reversed(list(enumerate(history))) if straight else [(0, replace(history[0], parents=()))]
    )
    of_others: list[Difference] = []
    for number, revision in steps:
        result = bench.alembic("downgrade", revision.parent)
        if result.error:
            message = f"The downgrade fails: {result.message}"
            return [*found, stopped(revision, "downgrade-fails", message, "downgrade")]
        upper = schemas[number + 1] if straight else schemas[-1]
        left = round_trip(schemas[number], upper, bench.schema())
        if own := [one for one in left if one not in of_others]:
            found.append(left_behind(revision, own))
        of_others = left
    result = bench.alembic("upgrade", "heads")
    last = history[-1]
    if result.error:
        if value_is_there(result.message):
            return found
        message = f"The second upgrade fails: {result.message}"
        return [*found, stopped(last, "second-upgrade-fails", message, "second upgrade")]
    if other := differences(schemas[-1], bench.schema()):
        found.append(another_schema(last, other))
    return found


def compare(bench: Bench, head: Revision | None) -> tuple[list[Finding], list[str]]:
    """What generate would write now, as findings; the scratch is at the head."""
    project, setup = bench.project, bench.situation.setup
    result = bench.autogenerate("check", project.models)
    refuse_unimported(project, setup, result)
    if is_nothing_yet(bench, result):
        return [], [" ".join(nothing_yet(bench))]
    expect_comparison(bench, result)
    report = result.report
    refuse_unregistered(project, setup, project.models, report)
    refuse_empty(bench, report)
    findings = [
        Finding(
            rule=NOT_MIGRATED,
            verdict=Verdict.DRIFT,
            message=f"The models changed and no revision says so: {words}.",
            evidence=("generate-migration.sh would write it",),
            source="operations",
        )
        for words in in_words(report["operations"])
    ]
    if findings:
        return findings, ["what autogenerate does not see was not compared: it would be the same"]
    missed, notes = compare_with_models(bench, bench.schema(), None)
    return drift(missed, head), notes


def compare_others(
    others: Others, head: Revision | None, say: Say
) -> tuple[list[Finding], list[str]]:
    """The same on the project's other databases; what was guessed is told only."""
    findings: list[Finding] = []
    notes: list[str] = []
    for other in others.benches:
        title = TITLES[other.scratch.kind]
        say(f"comparing the models on {title}")
        found, more = compare(other, head)
        found = [replace(one, message=f"On {title}: {one.message}") for one in found]
        notes += [f"on {title}: {line}" for line in more]
        if others.strict:
            findings += found
        else:
            notes += [f"a guess, which does not count: {one.message}" for one in found]
    return findings, notes


def with_sizes(reviewed: Reviewed, sizes: Mapping[str, TableSize]) -> Reviewed:
    """The findings with how large and busy their tables really are."""
    return replace(
        reviewed,
        findings=tuple(add_size(one, sizes) for one in reviewed.findings),
    )


def add_size(finding: Finding, sizes: Mapping[str, TableSize]) -> Finding:
    size = sizes.get(finding.table or "")
    if size is None:
        return finding
    return replace(finding, evidence=(*finding.evidence, f"{finding.table} has {size}"))
