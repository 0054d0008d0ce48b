"""`--expand-contract`: from changed models to the revisions of a deploy without a pause.

What is harmless in one step stays together in a plain revision, which comes first. Each other
operation becomes revisions of its own: before the new code is deployed, and after it.
"""

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from toolkit.database.catalog import Catalog
from toolkit.database.scratch import execute
from toolkit.migration.bench import Bench
from toolkit.migration.examine import Revision, drift, make_models
from toolkit.migration.expand_contract import (
    AddCheck,
    NotPossible,
    RevisionText,
    Table,
    expand_contract_all,
)
from toolkit.migration.expand_contract.columns import NOTHING
from toolkit.migration.expand_contract.existing import Existing
from toolkit.migration.expand_contract.planning import Answers, Plan, Planner, check_change
from toolkit.migration.generate import (
    Draft,
    Wanted,
    autogenerate,
    bench_at_head,
    compare_again,
    draft_of,
    next_steps,
    refuse_unseen,
    same_code,
)
from toolkit.migration.install import install, rewrite, uninstall
from toolkit.migration.missed import Missed, find_missed
from toolkit.migration.refusal import Refusal
from toolkit.migration.review import review
from toolkit.migration.reviewing import has_error, review_all
from toolkit.project.facts import Project
from toolkit.report.exits import Exit
from toolkit.report.finding import Finding, Verdict

Say = Callable[[str], None]


@dataclass(frozen=True)
class Step:
    """One revision in the project."""

    path: Path
    """Below the versions folder until it is installed."""
    text: str
    revision: str
    parent: str | None
    title: str
    deploy: str | None
    """What must run everywhere before it does; None: nothing new."""
    expected: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Expanded:
    """The files in their order, and what the proof showed."""

    steps: tuple[Step, ...]
    findings: tuple[Finding, ...]
    warnings: tuple[str, ...]
    scratch: str
    commands: tuple[str, str]
    """Upgrade to what old code can live with, and to the head. One may be empty."""


def expand(project: Project, wanted: Wanted, answers: Answers, say: Say) -> Expanded:
    """Write all revisions or none. Raises Refusal or DatabaseError."""
    with bench_at_head(project, wanted, say) as bench:
        report = autogenerate(bench, wanted, project.models, take_out=True)
        before = bench.schema()
        models = models_catalog(bench, before)
        plain = draft_of(bench, report)
        seen = Compared(report["taken_out"], plain, before, models)
        steps = write_steps(bench, wanted, answers, seen)
        findings, notes, after = prove(bench, steps, say)
        warnings = [*notes, *compare_again(bench)]
        placed, hook_warnings = put_all_in_place(bench, steps, say)
    pairs = zip(steps, placed, strict=True)
    places = {str((bench.folder / old.path).resolve()): new.path for old, new in pairs}
    return Expanded(
        steps=tuple(placed),
        findings=(*(in_place(one, places) for one in findings), *drift(models.missed(after))),
        warnings=(*bench.situation.notes, *models.notes, *warnings, *hook_warnings),
        scratch=bench.place,
        commands=commands(bench, placed),
    )


def in_place(finding: Finding, places: Mapping[str, Path]) -> Finding:
    """With the file in the project instead of ours."""
    path = places.get(str(Path(finding.file).resolve())) if finding.file else None
    return replace(finding, file=str(path)) if path else finding


@dataclass(frozen=True)
class Models:
    """What the models make on an empty database."""

    catalog: Catalog | None
    """None where they cannot be made there."""
    before: Catalog
    ignored: Sequence[Sequence[str | None]] = ()
    notes: tuple[str, ...] = ()

    def missed(self, migrated: Catalog) -> list[Missed]:
        if self.catalog is None:
            return []
        return find_missed(migrated, self.catalog, parent=self.before, ignored=self.ignored)


def models_catalog(bench: Bench, before: Catalog) -> Models:
    result = make_models(bench, before)
    if result.error:
        return Models(None, before, notes=(f"the models could not be made: {result.message}",))
    return Models(result.report["catalog"], before, result.report.get("ignored", ()))


@dataclass(frozen=True)
class Compared:
    """What the models say that the migrations do not."""

    taken: Mapping[str, Any]
    plain: Draft | None
    before: Catalog
    models: Models


def write_steps(bench: Bench, wanted: Wanted, answers: Answers, seen: Compared) -> list[Step]:
    """All files in our folder. Raises Refusal for what is missing, not possible, or nothing."""
    dialect, plain = bench.scratch.kind, seen.plain
    operations, existing = seen.taken["operations"], Existing(seen.before)
    planner = Planner(operations, existing, dialect, answers, caster(bench))
    head = bench.situation.head["revision"] if bench.situation.head else None
    parent = plain.revision if plain else head
    slug = uuid.uuid4().hex[:8]
    try:
        plan = planner.plan()
        known = {one.name for one in plan.changes if isinstance(one, AddCheck)}
        unseen = [one for one in checks(seen.models, existing, dialect) if one.name not in known]
        changes = [*plan.changes, *unseen]
        revisions = expand_contract_all(
            changes, dialect=dialect, parent=parent, slug=slug, needs=seen.taken["imports"]
        )
    except (NotPossible, ValueError) as error:
        raise not_possible(str(error)) from None
    ask(plan, answers)
    if plain is None and not revisions:
        raise Refusal(
            "no-changes",
            Exit.NO_CHANGES,
            "The models and the migrations agree, as far as --expand-contract writes it.",
            "Run it without --expand-contract to have them compared object by object.",
        )
    steps = [] if plain is None else [plain_step(plain, wanted)]
    steps += named(bench, wanted, revisions)
    for step in steps[plain is not None :]:
        path = bench.folder / step.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(step.text, encoding="utf-8")
    return steps


def caster(bench: Bench) -> Callable[[str, str], bool]:
    """Does this database convert a value of the one type to the other by itself?"""

    def can_cast(old: str, new: str) -> bool:
        if bench.scratch.kind != "postgresql":
            return True
        try:
            execute(bench.scratch.url, f"SELECT CAST(CAST(NULL AS {old}) AS {new})")
        except SQLAlchemyError:
            # A text goes into each type that is there: this one is an enum, still to be made.
            return "CHAR" in old.upper() or old.upper() == "TEXT"
        return True

    return can_cast


def checks(models: Models, existing: Existing, dialect: str) -> Iterator[AddCheck]:
    """CHECK constraints, which not every autogenerate sees, on tables that are there."""
    if dialect != "postgresql":
        return
    for one in models.missed(models.before):
        found = one.difference
        if found.kind != "check" or found.before is not None or found.attribute is not None:
            continue
        entry = found.after
        schema = None if entry["schema"] == existing.default_schema else entry["schema"]
        table = Table(entry["table"], existing.key(schema, entry["table"]), schema)
        change = check_change(entry, table)
        if change is not None:
            yield change


def not_possible(words: str) -> Refusal:
    return Refusal(
        "not-possible",
        Exit.NOT_POSSIBLE,
        words,
        "Without --expand-contract it is written as one revision, for a service that is stopped.",
    )


def ask(plan: Plan, answers: Answers) -> None:
    """Raise Refusal for what only a person knows, and for answers to nothing."""
    if plan.questions:
        raise Refusal(
            "unanswered",
            Exit.UNANSWERED,
            "The rows that exist need values that no model says.",
            "Run it again with these; other columns of a row are {row}name.",
            plan.questions,
        )
    if unused := answers.unused():
        raise Refusal(
            "options",
            Exit.USAGE,
            f"No change asks for {', '.join(unused)}.",
            "Write table.column=SQL, with the names after the change of a table's name.",
        )


def plain_step(plain: Draft, wanted: Wanted) -> Step:
    title = f"{wanted.message}: what is harmless in one step"
    return Step(plain.relative, plain.text, plain.revision, plain.parent, title, None)


def named(bench: Bench, wanted: Wanted, revisions: Sequence[RevisionText]) -> list[Step]:
    """With file names as the project's file_template makes them."""
    ids = [one.revision for one in revisions]
    result = bench.alembic("history", action="paths", ids=ids, message=wanted.message)
    paths = [Path(one) for one in result.report.get("paths", ())]
    if result.error or len(set(paths)) < len(ids):
        paths = [Path(one.file) for one in revisions]
    return [
        Step(
            path,
            one.text,
            one.revision,
            one.down_revision,
            one.title,
            None if one.deploy == NOTHING else one.deploy,
            one.expected,
        )
        for path, one in zip(paths, revisions, strict=True)
    ]


def prove(
    bench: Bench, steps: Sequence[Step], say: Say
) -> tuple[list[Finding], list[str], Catalog]:
    """Each up, down and up again, with equal schemas. Raises Refusal for what is not safe."""
    for step in steps:
        try:
            compile(step.text, step.path.name, "exec", dont_inherit=True)
        except SyntaxError as error:
            raise unproved(f"{step.path.name} does not compile: {error.msg}.") from None
    revisions = [
        Revision(
            step.revision,
            (step.parent,) if step.parent else (),
            str(bench.folder / step.path),
            step.title,
        )
        for step in steps
    ]
    _, trace, extra, _ = review_all(bench, revisions, say)
    failed = [one.message for one in extra if one.rule.endswith("-fails")]
    errors = [r["error"]["message"] for r in trace.get("revisions", ()) if r.get("error")]
    if failed or has_error(trace):
        raise unproved(f"A written revision fails: {[*failed, *errors][0]}")
    judged = review(
        trace,
        {one["file"]: Path(one["file"]).read_text("utf-8") for one in trace["revisions"]},
        extra=extra,
    )
    expected = {step.revision: step.expected for step in steps}
    loud = [
        one
        for one in judged.findings
        if one.verdict.rank < Verdict.BRIEF_LOCK.rank
        and one.rule not in expected.get(str(one.revision), ())
    ]
    if loud:
        raise Refusal(
            "not-possible",
            Exit.NOT_POSSIBLE,
            "A step would not be safe while the service runs.",
            "Take that change out, or write it without --expand-contract while it is stopped.",
            [f"{one.verdict}: {one.message} {' '.join(one.evidence)}".rstrip() for one in loud],
        )
    # Theirs is the safe form already: there is none to show instead.
    found = [
        replace(one, rewrite="") if one.revision in expected else one for one in judged.findings
    ]
    return found, judged.notes, bench.schema()


def unproved(words: str) -> Refusal:
    return Refusal(
        "proof",
        Exit.PROOF_FAILED,
        words,
        "If the message names no cause in --fill, --using or the models, please report it.",
    )


def put_all_in_place(bench: Bench, steps: Sequence[Step], say: Say) -> tuple[list[Step], list[str]]:
    """Parents first, so that a run that is killed leaves a history which works."""
    bench.scratch.check()
    placed: list[Step] = []
    undo: list[tuple[Path, list[Path]]] = []
    warnings: list[str] = []
    try:
        for step in steps:
            path = bench.situation.destination / step.path
            undo.append((path, install(step.text, path)))
            placed.append(replace(step, path=path))
        if bench.situation.hooks:
            warnings = [line for step in placed for line in run_hooks(bench, step, say)]
        refuse_unseen(bench, placed[-1].revision, placed[-1].path)
    except BaseException:
        for path, made in reversed(undo):
            uninstall(path, made)
        raise
    return placed, warnings


def run_hooks(bench: Bench, step: Step, say: Say) -> list[str]:
    """Formatters may change the layout; what else they change is taken back."""
    file = str(step.path)
    result = bench.alembic(
        "revision", "-m", "hooks", action="hooks", file=file, version_location=None
    )
    warnings = []
    if result.error:
        warnings.append(f"a post-write hook failed on {step.path.name}: {result.message}")
    text = step.path.read_text("utf-8") if step.path.exists() else ""
    if not same_code(text, step.text):
        say(f"a post-write hook changed the code of {step.path.name}; it is as before")
        warnings.append(f"a post-write hook changed {step.path.name}; the proved text is kept")
        rewrite(step.path, step.text)
    return warnings


def commands(bench: Bench, steps: Sequence[Step]) -> tuple[str, str]:
    """The upgrades before and after the deploy of the new code."""
    to_head = next_steps(bench.project, bench.situation, steps[0].path, [])[-1]
    early = [step for step in steps if step.deploy is None]
    if not early:
        return "", to_head
    if len(early) == len(steps):
        return to_head, ""
    return to_head.removesuffix("head") + early[-1].revision, to_head
