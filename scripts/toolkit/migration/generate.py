"""Generate a migration on a scratch database, prove it there, then put it into the project."""

import ast
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from toolkit.database.alembic_process import AlembicResult
from toolkit.database.errors import DatabaseError
from toolkit.database.urls import TITLES, Kind
from toolkit.migration.bench import Bench, open_bench
from toolkit.migration.curing import Cure, answered, unharmed
from toolkit.migration.examine import (
    Examination,
    Revision,
    compare_with_models,
    drift,
    examine,
)
from toolkit.migration.examine import in_words as in_plain_words
from toolkit.migration.fault import blame
from toolkit.migration.install import (
    install,
    only_run,
    refuse_outside,
    rewrite,
    sweep_halves,
    uninstall,
)
from toolkit.migration.message import as_docstring
from toolkit.migration.missed import Missed, add_lines
from toolkit.migration.refusal import Refusal
from toolkit.migration.renaming import may_be_renames, nothing_to_rename
from toolkit.migration.review import review
from toolkit.migration.several import Others, merged, only_there, open_others, remember
from toolkit.migration.situation import (
    Situation,
    choose_setup,
    look,
    refuse_unimported,
    refuse_unregistered,
    shown,
)
from toolkit.migration.sqlite_rebuild import generated_aside, kept, lost
from toolkit.migration.words import data_losses, in_words
from toolkit.project.commands import alembic_line
from toolkit.project.facts import MappedClass, Project
from toolkit.report.exits import Exit
from toolkit.report.finding import Finding, Verdict

Say = Callable[[str], None]


@dataclass(frozen=True)
class Draft:
    """A new revision in a folder of ours."""

    text: str
    revision: str
    parent: str | None
    relative: Path
    """Its path below the versions folder."""
    operations: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True)
class Wanted:
    """What was asked for on the command line."""

    message: str
    dialect: str | None = None
    timeout: float = 120.0
    renames: Sequence[Mapping[str, Any]] = ()
    no_rename: bool = False
    """Write the drops and adds that look like renames as they are."""
    apply: bool = False
    """Write what autogenerate missed as well."""
    follow_links: bool = False
    """Write also where a link leads out of the project."""
    using: Mapping[str, str] = field(default_factory=dict)
    """How PostgreSQL converts a column, by `table.column`; `back` is for the downgrade."""
    back: Mapping[str, str] = field(default_factory=dict)
    dialects: Sequence[Kind] = ()
    """The project's databases, where they are said; to be remembered."""


@dataclass(frozen=True)
class Outcome:
    """A migration that is in the project."""

    path: Path
    revision: str
    parent: str | None
    operations: tuple[Mapping[str, Any], ...]
    words: tuple[str, ...]
    data_losses: tuple[str, ...]
    warnings: tuple[str, ...]
    findings: tuple[Finding, ...]
    scratch: str
    next: tuple[str, ...]
    also: tuple[str, ...] = ()
    """Where else it was proved."""


def generate(project: Project, wanted: Wanted, say: Say) -> Outcome:
    """Write one migration for the difference between models and migrations.

    Raises Refusal or DatabaseError; then the project is as it was.
    """
    with bench_at_head(project, wanted, say) as first, ExitStack() as stack:
        bench, others = open_others(first, wanted.dialects, stack, say)
        draft = write_draft(bench, wanted, project.models)
        if draft is None:
            draft = write_for_others(bench, others, wanted) or write_what_was_missed(bench, wanted)
        draft, seen, missed, notes = prove(bench, draft, wanted, say)
        draft, seen, elsewhere = prove_on_others(others, Run(bench, draft, seen), wanted, say)
        warnings = [*others.notes, *compare_again(bench), *elsewhere.notes]
        path, hook_warnings = put_in_place(bench, draft, say)
        if wanted.dialects and (line := remember(project, bench.situation.setup, others.kinds)):
            say(line)
    situation = bench.situation
    # Where the file was then; a temporary folder may have two names.
    ours = Revision(draft.revision, (), seen.trace["revisions"][0]["file"])
    judged = review(
        seen.trace,
        {ours.path: draft.text},
        extra=[*seen.findings, *drift(missed, ours), *elsewhere.findings],
    )
    losses = data_losses(draft.operations)
    return Outcome(
        path=path,
        revision=draft.revision,
        parent=draft.parent,
        operations=draft.operations,
        words=tuple(in_words(draft.operations)),
        data_losses=tuple(losses),
        warnings=(*situation.notes, *warnings, *hook_warnings, *notes, *judged.notes),
        findings=tuple(moved(one, ours.path, path) for one in judged.findings),
        scratch=bench.place,
        next=tuple(next_steps(project, situation, path, losses)),
        also=elsewhere.places,
    )


@dataclass(frozen=True)
class Run:
    """A draft that has run on the database that env.py connects to."""

    bench: Bench
    draft: Draft
    seen: Examination


@dataclass(frozen=True)
class Elsewhere:
    """What was seen on the project's other databases."""

    places: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()


def write_for_others(bench: Bench, others: Others, wanted: Wanted) -> Draft | None:
    """An empty revision where only another database lacks something; None where none does."""
    for other in others.benches if others.strict else ():
        if left_on(other):
            return empty_draft(bench, wanted)
    return None


def left_on(other: Bench) -> tuple[str, Draft] | None:
    """What Alembic still sees there, in words and as a revision; its file is gone."""
    report = autogenerate(other, Wanted("what is left", no_rename=True), ())
    draft = draft_of(other, report)
    if draft is None:
        return None
    (other.folder / draft.relative).unlink()
    return "; ".join(in_words(draft.operations)), draft


def prove_on_others(
    others: Others, run: Run, wanted: Wanted, say: Say
) -> tuple[Draft, Examination, Elsewhere]:
    """Run it on each, and add what only that one lacks. Raises Refusal where it fails on one that
    was named; what was only guessed is told.
    """
    bench, draft, seen = run.bench, run.draft, run.seen
    notes: list[str] = []
    places: list[str] = []
    findings: list[Finding] = []
    for other in others.benches:
        title = TITLES[other.scratch.kind]
        say(f"running it on {title}: upgrade, downgrade, upgrade")
        there, failed = run_there(other, draft)
        if failed:
            if others.strict:
                raise fails_there(bench, title, *failed)
            step, result = failed
            notes.append(f"on {title} its {step} fails: {result.message.splitlines()[0]}")
            continue
        places.append(other.place)
        rest = left_on(other)
        if rest and others.strict:
            say(f"adding what only {title} lacks, and running it again: {rest[0]}")
            text = merged(draft.text, rest[1].text, other.scratch.kind)
            whole, seen, there = run_on_both(bench, other, draft, text)
            still = left_on(other)
            if still and still[0] == rest[0]:  # a difference that no revision ends
                whole, seen, there = run_on_both(bench, other, draft, draft.text)
            draft, rest = whole, still
        if rest:
            notes.append(f"on {title} Alembic still sees a difference: {rest[0]}")
        ours = Revision(draft.revision, (), str(bench.folder / draft.relative))
        missed, _ = compare_with_models(other, there.after, there.before)
        if others.strict and wanted.apply and any(one.upgrade_lines for one in missed):
            say(f"adding what autogenerate missed on {title}, and running it again")
            text = add_lines(draft.text, only_there(missed, other.scratch.kind))
            draft, seen, there = run_on_both(bench, other, draft, text)
            missed, _ = compare_with_models(other, there.after, there.before)
        lost_there = lost(there.before, there.after, draft.operations)
        lines = [f"on {title}, {one.words}" for one in missed]
        lines += [
            f"on {title}, making the table anew loses: {in_plain_words(one)}"
            for one in (lost_there if other.scratch.kind == "sqlite" else ())
        ]
        if others.strict:
            findings += [on_other(line, ours) for line in lines]
        else:
            notes += lines
    return draft, seen, Elsewhere(tuple(places), tuple(notes), tuple(findings))


def run_on_both(
    bench: Bench, other: Bench, draft: Draft, text: str
) -> tuple[Draft, Examination, Examination]:
    """With another text, in place of the one that has run on both."""
    for place in (bench, other):
        down = place.alembic("downgrade", draft.parent or "base")
        place.expect(down, "The new migration's downgrade fails", advice(down, "downgrade"))
    draft = rewritten(bench, draft, text)
    seen = look_at_run(bench, draft)
    there, failed = run_there(other, draft)
    if broken := failed or seen.failure:
        raise fails_there(bench, TITLES[other.scratch.kind], *broken)
    return draft, seen, there


def on_other(line: str, revision: Revision) -> Finding:
    return Finding(
        rule="other-database",
        verdict=Verdict.DRIFT,
        message=f"{line[0].upper()}{line[1:]}.",
        revision=revision.id,
        file=revision.path,
        source="catalog",
    )


def run_there(other: Bench, draft: Draft) -> tuple[Examination, tuple[str, AlembicResult] | None]:
    path = other.folder / draft.relative
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(draft.text, encoding="utf-8")
    seen = look_at_run(other, draft)
    return seen, seen.failure


def fails_there(bench: Bench, title: str, step: str, result: AlembicResult) -> Refusal:
    words = "second upgrade, after the downgrade," if step == "second upgrade" else step
    return Refusal(
        "other-database",
        Exit.PROOF_FAILED,
        f"The new migration's {words} fails on {title}: {result.message}",
        f"It is right on {TITLES[bench.scratch.kind]}. Say it in the models as both have it"
        " (func.now() in place of text('now()')), or take one of them out of DIALECTS in env.py.",
    )


@contextmanager
def bench_at_head(project: Project, wanted: Wanted, say: Say) -> Iterator[Bench]:
    """A scratch database that the migrations have built, while no other run is under way."""
    setup = choose_setup(project)
    with ExitStack() as stack:
        stack.enter_context(only_run(setup.script_location, wanted.timeout, say))
        sweep_halves(setup.script_location)
        say(f"reading {shown(setup.env, project.root)} and the migration history")
        situation = look(project, setup, wanted.dialect, wanted.timeout, say)
        sweep_halves(situation.destination)
        if not wanted.follow_links:
            refuse_outside(situation.destination, project.root)
        bench = stack.enter_context(open_bench(project, situation, wanted.timeout))
        for note in bench.scratch.notes:
            say(note)
        say(f"scratch database: {bench.place}")
        bring_to_head(bench, say)
        say("comparing the models with it")
        yield bench


def moved(finding: Finding, draft: str, path: Path) -> Finding:
    """With the place in the project instead of ours."""
    return replace(finding, file=str(path)) if finding.file == draft else finding


def bring_to_head(bench: Bench, say: Say) -> None:
    if bench.situation.head is None:
        return
    say(f"upgrading it to the head {bench.situation.head['revision']}")
    bench.expect(
        bench.alembic("upgrade", "heads"),
        "The migrations that are there do not run on an empty database",
        "Repair that first: no new migration can be proved on top of it.",
    )


def autogenerate(
    bench: Bench, wanted: Wanted, mapped: Sequence[MappedClass], *, take_out: bool = False
) -> dict[str, Any]:
    """Let Alembic write into our folder; what it saw. Raises Refusal for a wrong result.

    `take_out`: what a running service would notice is not written, but described.
    """
    result = bench.autogenerate(
        as_docstring(wanted.message), mapped, renames=list(wanted.renames), take_out=take_out
    )
    report = result.report
    if "File name too long" in result.message:
        raise Refusal(
            "message",
            Exit.USAGE,
            "The file's name would be longer than the file system allows.",
            "Shorten the message, or set a smaller truncate_slug_length in the ini.",
        )
    refuse_unimported(bench.project, bench.situation.setup, result)
    if is_nothing_yet(bench, result):
        raise Refusal("no-changes", Exit.NO_CHANGES, *nothing_yet(bench))
    expect_comparison(bench, result)
    refuse_unregistered(bench.project, bench.situation.setup, mapped, report)
    refuse_empty(bench, report)
    if report["unused_renames"]:
        raise nothing_to_rename(report["unused_renames"], in_words(report["operations"]))
    if report["rename_candidates"] and not wanted.no_rename:
        raise may_be_renames(report["rename_candidates"])
    return report


def expect_comparison(bench: Bench, result: AlembicResult) -> None:
    """Raise Refusal where Alembic compared nothing."""
    if "does not provide a MetaData" in result.message:
        raise empty_metadata(bench, "env.py hands no metadata to Alembic")
    bench.expect(result, "Alembic could not compare the models", "Repair env.py or the model.")


def write_draft(bench: Bench, wanted: Wanted, mapped: Sequence[MappedClass]) -> Draft | None:
    """The new revision in our folder; None without changes. Raises Refusal."""
    return draft_of(bench, autogenerate(bench, wanted, mapped))


def draft_of(bench: Bench, report: Mapping[str, Any]) -> Draft | None:
    if not report["operations"] or not report["files"]:
        for path in report["files"]:  # an env.py that writes empty revisions, too
            Path(path).unlink()
        return None
    path = Path(report["files"][0])
    return Draft(
        text=path.read_text("utf-8"),
        revision=report["revisions"][0],
        parent=report["parents"][0],
        relative=path.relative_to(bench.folder.resolve())
        if path.is_relative_to(bench.folder.resolve())
        else path.relative_to(bench.folder),
        operations=tuple(report["operations"]),
    )


def refuse_empty(bench: Bench, report: Mapping[str, Any]) -> None:
    """Raise Refusal for a metadata without tables, where there are some or were some (#12)."""
    if not report["tables"]:
        raise empty_metadata(bench, "The metadata that env.py hands to Alembic has no tables")


def is_nothing_yet(bench: Bench, result: AlembicResult) -> bool:
    """No tables in env.py's metadata, in the source or in the migrations, as in a template for
    projects: they agree, as `alembic check` says (#12). This skill's env.py stops there.
    """
    report = result.report
    stopped = "no model has a table" in result.message and bench.situation.head is None
    compared = not (result.error or report["tables"] or report["operations"])
    return (stopped or compared) and not bench.project.models


def nothing_yet(bench: Bench) -> tuple[str, str]:
    """What is said of it, and what to do."""
    base = bench.project.base
    env = shown(bench.situation.setup.env, bench.project.root)
    return (
        "The metadata that env.py hands to Alembic has no tables, and neither have the source and"
        " the migrations.",
        f"Write models on {base.reference if base else 'a declarative base'}; if there are some,"
        f" set target_metadata in {env} and import their modules there.",
    )


def empty_metadata(bench: Bench, what: str) -> Refusal:
    sources = [source.reference for source in bench.project.metadata]
    env = shown(bench.situation.setup.env, bench.project.root)
    return Refusal(
        "empty-metadata",
        Exit.EMPTY_METADATA,
        f"{what}. The migration would be empty, or drop every table.",
        f"Set target_metadata in {env} and import every module with models there"
        " (setup-alembic.sh does both).",
        [f"found in the source: {source}" for source in sources],
    )


def write_what_was_missed(bench: Bench, wanted: Wanted) -> Draft:
    """An empty revision for what autogenerate does not see. Raises Refusal if that is nothing."""
    missed, notes = compare_with_models(bench, bench.schema(), None)
    head = bench.situation.head
    if not missed:
        raise Refusal(
            "no-changes",
            Exit.NO_CHANGES,
            "The models and the migrations agree"
            + (f" (head {head['revision']})." if head else "."),
            "Nothing to generate: compared object by object with what create_all makes."
            if not notes
            else "Nothing to generate that autogenerate sees.",
            notes,
        )
    if not wanted.apply or not any(one.upgrade_lines for one in missed):
        raise Refusal(
            "drift",
            Exit.DRIFT,
            "Alembic sees no change, but the migrations make another schema than the models.",
            "Run it again with --apply to have them written."
            if any(one.upgrade_lines for one in missed)
            else "Write a revision by hand: no operation can be given for these.",
            [one.words for one in missed],
        )
    return empty_draft(bench, wanted)


def empty_draft(bench: Bench, wanted: Wanted) -> Draft:
    message = as_docstring(wanted.message)
    folder = str(bench.folder)
    made = bench.alembic("revision", "-m", message, "--version-path", folder)
    bench.expect(made, "Alembic could not write a revision", "See the error.")
    (path,) = bench.folder.rglob("*.py")
    found = bench.alembic("history", action="history").report["history"][-1]
    return Draft(
        text=path.read_text("utf-8"),
        revision=found["revision"],
        parent=found["parent"],
        relative=path.relative_to(bench.folder),
        operations=(),
    )


def prove(
    bench: Bench, draft: Draft, wanted: Wanted, say: Say
) -> tuple[Draft, Examination, list[Missed], list[str]]:
    """Run the draft up, down and up again, and compare with the models object by object.

    With --apply, what the draft lacks is added to it, and the result is proved once more.
    """
    say("running it: upgrade, downgrade, upgrade")
    draft = rewritten(bench, draft, answered(bench, draft.text, wanted.using, wanted.back))
    draft, seen = run_and_cure(bench, draft, wanted, say)
    missed, notes = compare_with_models(bench, seen.after, seen.before)
    if wanted.apply and any(one.upgrade_lines for one in missed):
        say("adding what autogenerate missed, and running it again")
        down = bench.alembic("downgrade", draft.parent or "base")
        bench.expect(down, "The new migration's downgrade fails", advice(down, "downgrade"))
        if len(bench.dialects) > 1:
            missed = only_there(missed, bench.scratch.kind)
        draft = rewritten(bench, draft, add_lines(draft.text, missed))
        draft, seen = run_and_cure(bench, draft, wanted, say)
        missed, notes = compare_with_models(bench, seen.after, seen.before)
    return draft, seen, missed, notes


def rewritten(bench: Bench, draft: Draft, text: str) -> Draft:
    if text != draft.text:
        (bench.folder / draft.relative).write_text(text, encoding="utf-8")
    return replace(draft, text=text)


def run_and_cure(bench: Bench, draft: Draft, wanted: Wanted, say: Say) -> tuple[Draft, Examination]:
    """Raise Refusal unless the draft runs up, down and up again, with what is known to help."""
    if bench.scratch.kind == "sqlite":
        draft = run_on_sqlite(bench, draft, say)
    cure = Cure(draft.text, wanted.apply)
    while (seen := look_at_run(bench, draft)).failure:
        step, result = seen.failure
        while True:
            clean = step == "downgrade" or unharmed(bench, seen)
            text = cure.improved(bench, step, result) if clean else None
            if text is None:
                words = "second upgrade, after the downgrade," if step == "second upgrade" else step
                bench.expect(result, f"The new migration's {words} fails", advice(result, step))
                raise AssertionError(step)
            say(f"the {step} failed; what it lacks is added, and it runs again")
            draft = rewritten(bench, draft, text)
            if step == "upgrade":
                break
            result = bench.alembic("downgrade", draft.parent or "base")
            if not result.error:
                break
    return draft, seen


def run_on_sqlite(bench: Bench, draft: Draft, say: Say) -> Draft:
    """The draft with what batch mode would lose (#13); the scratch is as it was."""
    if "batch_alter_table" not in draft.text:
        return draft
    file, several = Path(str(bench.scratch.url.database)), len(bench.dialects) > 1
    for _ in range(3):
        copy = file.read_bytes()
        seen = look_at_run(bench, draft)
        for beside in ("-wal", "-shm", "-journal"):
            Path(f"{file}{beside}").unlink(missing_ok=True)
        file.write_bytes(copy)
        gone = []
        if seen.failure:
            if "generated column" not in seen.failure[1].message:
                return draft
            text = generated_aside(draft.text, seen.before, several=several)
        else:
            gone = lost(seen.before, seen.after, draft.operations)
            text = kept(draft.text, seen.before, gone, several=several)
        if not gone and text == draft.text:
            return draft
        say("making the table anew loses what was there; it is put back, and runs again")
        draft = rewritten(bench, draft, text)
    if gone:
        raise Refusal(
            "rebuild-loses",
            Exit.PROOF_FAILED,
            "SQLite makes the table anew for this, and that loses what batch mode cannot copy.",
            "Write this revision by hand, or leave what needs the new table out of the models.",
            [in_plain_words(one) for one in gone],
        )
    return draft


def look_at_run(bench: Bench, draft: Draft) -> Examination:
    try:
        compile(draft.text, draft.relative.name, "exec", dont_inherit=True)
    except SyntaxError as error:
        raise Refusal(
            "proof",
            Exit.PROOF_FAILED,
            f"The new file does not compile: {error.msg} (line {error.lineno}).",
            "Look at script.py.mako, which it is made from.",
        ) from None
    path = str(bench.folder / draft.relative)
    parents = (draft.parent,) if draft.parent else ()
    return examine(bench, Revision(draft.revision, parents, path))


def compare_again(bench: Bench) -> list[str]:
    """A warning if Alembic still sees a difference, for ever."""
    again = bench.autogenerate("check")
    bench.expect(again, "Comparing once more after the migration failed", "Repair env.py.")
    left = in_words(again.report["operations"])
    if not left:
        return []
    return ["after the migration Alembic still sees a difference: " + "; ".join(left)]


def run_round_trip(bench: Bench, draft: Draft) -> None:
    steps = (
        ("upgrade", draft.revision, "upgrade"),
        ("downgrade", draft.parent or "base", "downgrade"),
        ("upgrade", draft.revision, "second upgrade, after the downgrade,"),
    )
    for command, target, words in steps:
        result = bench.alembic(command, target)
        bench.expect(result, f"The new migration's {words} fails", advice(result, words))


def advice(result: AlembicResult, step: str) -> str:
    """What to do about the failures that autogenerate is known for."""
    if found := re.search(r"NameError: name '(\w+)' is not defined", result.message):
        return (
            f"The file uses {found[1]} without importing it: add `import {found[1]}` to"
            " script.py.mako, below `import sqlalchemy as sa`."
        )
    if found := re.search(r"type \"?(\w+)\"? already exists", result.message):
        return f"The downgrade leaves the type {found[1]} behind: drop it there."
    if "has no name" in result.message or "must have a name" in result.message:
        return "Give the metadata a naming_convention, so that constraints can be dropped."
    if step == "upgrade":
        return blame(result.message)
    return "Alembic cannot write this one alone; see the error."


def put_in_place(bench: Bench, draft: Draft, say: Say) -> tuple[Path, list[str]]:
    """Install the proved file and run the project's hooks on it; its path and warnings."""
    bench.scratch.check()
    path = bench.situation.destination / draft.relative
    made = install(draft.text, path)
    warnings: list[str] = []
    try:
        if bench.situation.hooks:
            result = bench.alembic(
                "revision", "-m", "hooks", action="hooks", file=str(path), version_location=None
            )
            warnings = after_hooks(bench, draft, path, result, say)
        refuse_unseen(bench, draft.revision, path)
    except BaseException:
        uninstall(path, made)
        raise
    return path, warnings


def refuse_unseen(bench: Bench, revision: str, path: Path) -> None:
    """Raise Refusal unless Alembic, asked in the project as it is now, has it as a head.

    A file where Alembic does not look is no migration, however well it was proved (#12).
    """
    result = bench.alembic("heads", action="heads", version_location=None)
    bench.expect(result, "Alembic could not read the history with the new file", "See the error.")
    found = {head["revision"] for head in result.report["heads"]}
    if revision not in found:
        raise Refusal(
            "not-seen",
            Exit.PROOF_FAILED,
            f"Alembic does not see the new revision in {shown(path.parent, bench.project.root)}:"
            f" its heads are {', '.join(sorted(found)) or 'none'}.",
            f"Look at version_locations in {shown(bench.situation.setup.ini, bench.project.root)}"
            " and at what `alembic heads` says.",
        )


def after_hooks(
    bench: Bench, draft: Draft, path: Path, result: AlembicResult, say: Say
) -> list[str]:
    """Keep what the hooks wrote only if it is still the migration that was proved."""
    warnings = []
    if result.error:
        warnings.append(f"a post-write hook failed, the file is not formatted: {result.message}")
    text = path.read_text("utf-8") if path.exists() else ""
    if same_code(text, draft.text):
        return warnings
    say("a post-write hook changed the code; proving it again")
    try:
        compile(text, path.name, "exec", dont_inherit=True)
        # The draft's own copy steps aside: two files with one revision are an error.
        shutil.rmtree(bench.folder)
        bench.folder.mkdir()
        run_round_trip_down_first(bench, draft)
    except (SyntaxError, Refusal, DatabaseError) as error:
        rewrite(path, draft.text)
        warnings.append(f"a post-write hook broke the file ({error}); the unformatted one is kept")
    return warnings


def run_round_trip_down_first(bench: Bench, draft: Draft) -> None:
    bench.expect(bench.alembic("downgrade", draft.parent or "base"), "downgrade", "")
    run_round_trip(bench, draft)


def same_code(one: str, other: str) -> bool:
    """Do two sources differ in layout and comments at most?"""
    try:
        return ast.dump(ast.parse(one)) == ast.dump(ast.parse(other))
    except SyntaxError:
        return False


def next_steps(
    project: Project, situation: Situation, path: Path, losses: Sequence[str]
) -> list[str]:
    """What to do now; the last line is a command that works as it stands."""
    read = f"read {shown(path, project.root)}" + (", the drops above all" if losses else "")
    line = alembic_line(
        project, situation.setup, ["upgrade", "head"], prepends_path=situation.prepends_path
    )
    return [read, line]
