"""The command line of setup-alembic.sh."""

import argparse
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.database.urls import SCRATCH_VARIABLE, WHERE
from toolkit.project import read_project
from toolkit.project.commands import alembic_line
from toolkit.project.databases import kinds
from toolkit.project.dependencies import install_line, missing_packages, sync_line
from toolkit.project.errors import ProjectError, chosen, require_decided
from toolkit.project.facts import AlembicSetup, Problem, Project
from toolkit.project.old_sqlalchemy import require_new_sqlalchemy
from toolkit.project.reach import missing_modules
from toolkit.project.root import read_text
from toolkit.report.door import put_json, say
from toolkit.report.exits import Exit, exit_code_table
from toolkit.report.masking import in_a_line
from toolkit.report.quoting import script, word
from toolkit.setup.apply import (
    BusyError,
    NotRestored,
    OutsideError,
    StaleError,
    Transaction,
    left_by_killed_runs,
    recover,
    refuse_outside,
)
from toolkit.setup.changes import FileChange, relative, shown_diff, unified_diff
from toolkit.setup.dependencies import old_fastapi, outdated
from toolkit.setup.errors import SetupError
from toolkit.setup.plan import Options, Plan, has_revisions, make_plan

if TYPE_CHECKING:
    from toolkit.setup.prove import Proof

TEMPLATES = Path(__file__).resolve().parents[3] / "templates"

DESCRIPTION = """\
Set up async Alembic for the FastAPI project in this folder, or repair what is there.

It reads the source, shows what it will change in your files, writes it in one step, and
proves it on a scratch database: your own database is neither needed nor touched. A
second run finds nothing to do. A file that you wrote is replaced only with --force; any
file of yours that changes and is not the same in git's last commit is kept in
.setup-alembic.backups.
"""

EPILOG = f"""\
{WHERE}The environment variable {SCRATCH_VARIABLE} names another server.

exit codes:
{exit_code_table()}
"""


@dataclass
class Result:
    """Everything that was found and done, for both kinds of output."""

    project: Project
    plan: Plan
    diff: str
    """Everything, as one patch."""
    shown: str
    """What a person sees of it."""
    dry_run: bool
    proof: "Proof | None" = None
    backups: list[Path] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    refused: SetupError | None = None


def main(arguments: Sequence[str]) -> int:
    """Run one command line; its exit code."""
    options = parser().parse_args(arguments)
    try:
        result = run(options)
    except ProjectError as error:
        return report_problem(error.problem, (), as_json=options.json)
    except SetupError as error:
        return report_problem(error.problem, error.details, as_json=options.json)
    except (BusyError, StaleError) as error:
        problem = Problem("busy", str(error), "run it again", Exit.BUSY)
        return report_problem(problem, (), as_json=options.json)
    except OutsideError as error:
        return report_problem(outside(), error.links, as_json=options.json)
    except NotRestored as error:
        return report_problem(not_restored(), error.lines, as_json=options.json)
    if options.json:
        put_json(as_document(result))
    else:
        report(result, options)
    return int(result.refused.problem.exit_code) if result.refused else int(Exit.OK)


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="setup-alembic.sh",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = made.add_argument
    add("--dry-run", action="store_true", help="show what was found and the diff; write nothing")
    add("--project", metavar="DIR", type=Path, default=Path(), help="default: here")
    add("--app", metavar="MODULE:NAME", help="the FastAPI application")
    add("--base", metavar="MODULE:NAME", help="the declarative base or MetaData that is meant")
    add(
        "--url-from",
        metavar="SOURCE",
        help="where the URL comes from: env:NAME or module:expression (app.config:settings.dsn)",
    )
    add(
        "--dialects",
        metavar="KIND,...",
        type=kinds,
        default=(),
        help="the project's databases, such as sqlite,postgresql: remembered in env.py",
    )
    add("--ini", metavar="FILE", help="the Alembic set-up that is meant, if there are several")
    add("--name", metavar="SECTION", help="its section, as in `alembic -n SECTION`")
    add(
        "--scaffold",
        metavar="PACKAGE",
        help="make a database layer too (app.db), for a project that has none",
    )
    add(
        "--scratch-on",
        metavar="HOST:PORT",
        help="allow the proof on the project's own server, which has to be this one",
    )
    add(
        "--force",
        action="store_true",
        help="replace hand-written files; the old text is kept, or in git's last commit",
    )
    add(
        "--follow-links",
        action="store_true",
        help="also change a file outside of the project that a link in it leads to",
    )
    add("--no-prove", action="store_true", help="do not run it on a scratch database")
    add(
        "--check-database",
        action="store_true",
        help="also read which tables the project's own database has (it is only read)",
    )
    add("--full-diff", action="store_true", help="show new files and long differences whole")
    add("--json", action="store_true", help="print one JSON object instead of text")
    return made


def run(options: argparse.Namespace) -> Result:
    """Plan, show, write, prove. Raises SetupError or ProjectError; then nothing is changed."""
    directory = options.project.resolve()
    if not directory.is_dir():
        raise SetupError("project", Exit.USAGE, f"{directory} is not a folder", "see --project")
    require_new_sqlalchemy(directory)
    if not options.dry_run:
        for line in recover(directory):
            say(line)
    elif left := left_by_killed_runs(directory):
        say(f"an earlier run has not ended well ({left[0]}): without --dry-run it is put back")
    project = read(options, directory, options.ini)
    for line in chosen(project, "project", "alembic", "base"):
        say(line)
    require_decided(project, "alembic", *(["app"] if options.scaffold is not None else []))
    project = with_look_at_env(with_imports_of_env(with_base(project)))
    if project.base is None and options.scaffold is None:
        project = with_tables_of_env(project)
    plan = make_plan(
        project,
        templates(),
        Options(
            scaffold=options.scaffold,
            force=options.force,
            explicit=bool(options.base or options.url_from),
            dry_run=options.dry_run,
            dialects=options.dialects,
        ),
    )
    if plan.changes:  # it would be written without what cannot be read
        require_decided(project, "models")
    refuse_outside(project.root.resolve(), plan.changes, follow=options.follow_links)
    diff = unified_diff(plan.changes, project.root)
    shown = diff if options.full_diff else shown_diff(plan.changes, project.root)
    result = Result(project, plan, diff, shown, options.dry_run)
    if plan.blocked:
        result.refused = would_overwrite(plan, project)
        return result
    missing = missing_packages(project)
    old = outdated(project) if "sqlalchemy[asyncio]" not in missing else None
    late = old_fastapi(project) if options.scaffold is not None else None
    result.notes += [note for note in (old, late) if note is not None]
    if options.dry_run:
        if missing:
            result.notes.append(f"to be installed first: {install_line(project, missing)}")
        return result
    if missing and options.scaffold is None:
        raise not_installed(project, missing, install_line(project, missing))
    write(options, directory, result, missing)
    return result


def with_base(project: Project) -> Project:
    """The project with the metadata that is meant: where its source has several, env.py is run
    (behind the fence, connecting nowhere) and says it. Raises ProjectError if it does not.
    """
    if "base" not in project.undecided:
        return project
    if project.versions["sqlalchemy"] and project.versions["alembic"]:
        from toolkit.migration.situation import with_metadata_of_env  # noqa: PLC0415

        project = with_metadata_of_env(project)
    require_decided(project, "base")
    return project


def with_look_at_env(project: Project) -> Project:
    """The project, told whether a synchronous env.py works beside an asynchronous application."""
    setup = project.alembic[0] if project.alembic else None
    if setup is None or setup.is_async or project.is_sync or missing_packages(project):
        return project
    from toolkit.migration.situation import works_synchronously  # noqa: PLC0415

    works, why_not_known = (
        works_synchronously(project, setup) if setup.env.is_file() else (False, "")
    )
    if not works:
        return project
    notes = (*project.notes, *filter(None, [why_not_known]))
    setup = replace(setup, works_sync=True)
    return replace(project, alembic=(setup, *project.alembic[1:]), notes=notes)


def with_imports_of_env(project: Project) -> Project:
    """The project, told what its env.py imports by a rule of its own (#12)."""
    setup = project.alembic[0] if project.alembic else None
    if setup is None or not setup.env.is_file() or missing_packages(project):
        return project
    modules = project.model_modules
    missing, by_rule = missing_modules(read_text(setup.env), project, modules, setup)
    if not missing or not by_rule:
        return project
    from toolkit.migration.situation import imported_by_env  # noqa: PLC0415

    found, asked = imported_by_env(project, setup, missing)
    imported = (*setup.imported_modules, *found)
    setup = replace(setup, imported_modules=imported, imports_asked=asked)
    return replace(project, alembic=(setup, *project.alembic[1:]))


def with_tables_of_env(project: Project) -> Project:
    """The project, told what its env.py hands to Alembic: a base may come from a library (#12)."""
    setup = project.alembic[0] if project.alembic else None
    if setup is None or not setup.env.is_file() or missing_packages(project):
        return project
    from toolkit.migration.situation import tables_of_env  # noqa: PLC0415

    seen = replace(setup, tables=tables_of_env(project, setup))
    return replace(project, alembic=(seen, *project.alembic[1:]))


def templates() -> dict[str, str]:
    """Name -> text of each file that people copy."""
    return {
        path.name: path.read_text(encoding="utf-8")
        for path in TEMPLATES.iterdir()
        if path.is_file()
    }


def read(options: argparse.Namespace, directory: Path, ini: str | None) -> Project:
    return read_project(
        directory,
        base=options.base,
        app=options.app,
        url_from=options.url_from,
        ini=ini,
        name=options.name,
        scratch_on=options.scratch_on,
    )


def write(
    options: argparse.Namespace, directory: Path, result: Result, missing: Sequence[str]
) -> None:
    """Apply the plan and prove it; everything is put back when the proof fails."""
    plan = result.plan
    if not options.json and result.shown:
        print(result.shown, end="", flush=True)
    for line in plan.lost:
        say(line)
    with ExitStack() as stack:
        if plan.changes:
            made = Transaction(result.project.root, plan.changes, follow=options.follow_links)
            writing = stack.enter_context(made)
            result.backups = list(writing.backups)
            result.notes += writing.notes
        if missing:
            # The lines are in the dependency file now, so that one command installs them.
            listed = any(change.reason.startswith("dependencies") for change in plan.changes)
            line = (sync_line if listed else install_line)(result.project, missing)
            result.refused = not_installed(result.project, missing, line)
        else:
            now = read(options, directory, str(plan.ini)) if plan.changes else result.project
            prove_and_look(options, now, result)
        if plan.changes:
            writing.commit()


def prove_and_look(options: argparse.Namespace, project: Project, result: Result) -> None:
    # Not at the top: they import SQLAlchemy, which may be what is missing.
    from toolkit.database.errors import DatabaseError  # noqa: PLC0415
    from toolkit.migration.refusal import Refusal  # noqa: PLC0415
    from toolkit.setup.prove import prove  # noqa: PLC0415
    from toolkit.setup.target import advice, look_at_target  # noqa: PLC0415

    try:
        if not options.no_prove:
            result.proof = prove(project, result.plan.ini, say)
            result.notes += result.proof.notes
        if options.check_database:
            target = look_at_target(project, result.plan.ini)
            begun = has_revisions(project.alembic[0])
            words = target.message or advice(project, target.tables or (), begun)
            result.notes.append(words)
    except (Refusal, DatabaseError, SetupError) as error:
        details = getattr(error, "details", ())
        problem = error.problem
        written = " Nothing was changed." if result.plan.changes else ""
        message = (
            problem.message if problem.message.endswith((".", "!", "?")) else f"{problem.message}."
        )
        raise SetupError(
            problem.code,
            problem.exit_code,
            f"{message}{written}" if written else problem.message,
            problem.remedy,
            details,
        ) from None


def would_overwrite(plan: Plan, project: Project) -> SetupError:
    names = [f"{relative(c.path, project.root)}: {c.reason}" for c in plan.blocked]
    return SetupError(
        "would-overwrite",
        Exit.WOULD_OVERWRITE,
        "a file that this script did not write would be replaced; nothing was changed",
        "look at the diff, then run again with --force (the old text is kept)",
        [*names, *plan.lost],
    )


def outside() -> Problem:
    return Problem(
        "outside",
        "a file to change is behind a link that leads out of the project; nothing was changed",
        "say that it is meant with --follow-links, or change it by hand",
        Exit.OUTSIDE,
    )


def not_restored() -> Problem:
    return Problem(
        "not-restored",
        "what was written could not all be put back",
        "make room, or whatever else the lines above want, and run this again: it goes on then",
        Exit.NOT_RESTORED,
    )


def not_installed(project: Project, missing: Sequence[str], line: str) -> SetupError:
    return SetupError(
        "missing-dependency",
        Exit.MISSING_DEPENDENCY,
        f"not installed in this environment: {', '.join(missing)}",
        f"install with: {line}",
        [f"Python: {sys.executable}"],
    )


def report_problem(problem: Problem, details: Sequence[str], *, as_json: bool) -> int:
    if as_json:
        put_json({"status": "refused", **problem_document(problem, details)})
    print(problem.message, file=sys.stderr)
    for line in details:
        print(f"  {in_a_line(line)}", file=sys.stderr)
    print(problem.remedy, file=sys.stderr)
    return int(problem.exit_code)


def problem_document(problem: Problem, details: Sequence[str]) -> dict[str, Any]:
    return {
        "exit": int(problem.exit_code),
        "code": problem.code,
        "message": problem.message,
        "remedy": problem.remedy,
        "details": list(details),
    }


def found_lines(result: Result) -> list[str]:
    """What was found, as pairs of a title and words."""
    project, root = result.project, result.project.root
    modules = named(project.model_modules) or "none yet"
    alembic = "none yet"
    if project.alembic:
        setup = project.alembic[0]
        kind = "async" if setup.is_async else "sync"
        section = f" [{setup.section}]" if setup.name_option else ""
        alembic = f"{relative(setup.ini, root)}{section}, {relative(setup.env, root)} ({kind})"
    import_root = relative(project.import_root, root)
    versions = ", ".join(f"{name} {number}" for name, number in project.versions.items() if number)
    return [
        f"project      {root} ({project.package_manager})",
        f"import root  {'the project itself' if import_root == '.' else import_root}",
        f"application  {application(project)}",
        f"base         {', '.join(one.reference for one in project.bases) or 'none yet'}",
        f"models       {len(project.models)} in {modules}",
        f"URL from     {result.plan.url.reference}",
        f"alembic      {alembic}",
        f"installed    {versions or 'none of the packages needed'}",
    ]


def named(names: Sequence[str]) -> str:
    """The first three, and how many more."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def application(project: Project) -> str:
    several = project.undecided.get("app")
    return several.message if several else project.app or "not found"


def report(result: Result, options: argparse.Namespace) -> None:
    root = result.project.root
    for line in found_lines(result):
        print(in_a_line(line))
    if (result.dry_run or result.plan.blocked) and result.shown:
        print(f"\n{result.shown}", end="")
    print()
    verb = "would write" if result.dry_run or result.plan.blocked else "wrote"
    for change in result.plan.changes:
        name = relative(change.path, root)
        print(in_a_line(f"{verb} {name}{new_lines(change)}: {change.reason}"))
    for backup in result.backups:
        print(in_a_line(f"kept {relative(backup, root)}"))
    if not result.plan.changes and result.plan.layer is None:
        print("nothing to do")
    if result.proof is not None:
        print(f"proved on {result.proof.scratch}: {', '.join(result.proof.steps)}")
    # A refusal has them in its own words.
    for note in [
        *result.plan.notes,
        *(() if result.plan.blocked else result.plan.lost),
        *result.notes,
    ]:
        print(f"note: {note}")
    if result.refused is not None:
        print(flush=True)
        report_problem(result.refused.problem, result.refused.details, as_json=False)
    elif result.plan.layer is not None:
        ours = script("setup-alembic.sh")
        print(f"next: {ours} {again(options)}--scaffold {word(result.plan.layer)}")
    elif not result.dry_run:
        upgrade = alembic_line(result.project, set_up(result), ["upgrade", "head"])
        ours = script("generate-migration.sh")
        print(f'next: {ours} {again(options)}"what changes", then `{upgrade}`')


def again(options: argparse.Namespace) -> str:
    """What says which project and set-up are meant, for the next command of ours (#12)."""
    given = {name: getattr(options, name) for name in ("base", "app", "url_from", "ini", "name")}
    if options.project.resolve() != Path.cwd():
        given = {"project": options.project, **given}
    return "".join(
        f"--{name.replace('_', '-')} {word(value)} " for name, value in given.items() if value
    )


def set_up(result: Result) -> AlembicSetup:
    """The one that was read, else the one that was written."""
    if result.project.alembic:
        return result.project.alembic[0]
    written = (change.path for change in result.plan.changes if change.path.name == "alembic.ini")
    folder = next(written, result.project.root / "alembic.ini").parent
    scripts = folder / "alembic"
    return AlembicSetup(
        folder / "alembic.ini", scripts, scripts / "env.py", (), is_async=True, started_in=folder
    )


def new_lines(change: FileChange) -> str:
    return "" if change.before is not None else f" (new, lines: {len(change.after.splitlines())})"


def as_document(result: Result) -> dict[str, Any]:
    project, root = result.project, result.project.root
    status = "nothing-to-do" if not result.plan.changes else "done"
    if result.dry_run and result.plan.changes:
        status = "planned"
    if result.plan.layer is not None:
        status = "no-database-layer"
    refused: dict[str, Any] = {"exit": 0}
    if result.refused is not None:
        status = "refused"
        refused = problem_document(result.refused.problem, result.refused.details)
    return {
        "status": status,
        **refused,
        "project": {
            "root": str(root),
            "import_root": str(project.import_root),
            "package_manager": project.package_manager,
            "dependency_file": str(project.dependency_file) if project.dependency_file else None,
            "app": project.app,
            "base": project.base.reference if project.base else None,
            "bases": [one.reference for one in project.bases],
            "models": [
                {
                    "name": item.name,
                    "module": item.module,
                    "table": item.table,
                    "where": f"{relative(item.path, root)}:{item.line}",
                }
                for item in project.models
            ],
            "url_from": result.plan.url.reference,
            "alembic": [
                {
                    "ini": str(setup.ini),
                    "section": setup.section,
                    "env": str(setup.env),
                    "versions": [str(folder) for folder in setup.versions],
                    "async": setup.is_async,
                }
                for setup in project.alembic
            ],
            "create_all": list(project.create_all),
            "versions": project.versions,
        },
        "changes": [
            {
                "path": str(change.path),
                "action": "create" if change.before is None else "change",
                "reason": change.reason,
            }
            for change in result.plan.changes
        ],
        "backups": [str(path) for path in result.backups],
        "diff": result.diff,
        "notes": [*result.plan.notes, *result.plan.lost, *result.notes],
        "proof": None
        if result.proof is None
        else {
            "scratch": result.proof.scratch,
            "tables": list(result.proof.tables),
            "steps": list(result.proof.steps),
        },
    }
