"""Run Alembic commands of a project, guarded, each in a process of its own.

Run by path (`python -P alembic_worker.py`): this package must not be importable here,
since a project may have a package of the same name. Each line of standard input is a
request in JSON; the process, which has imported Alembic and nothing of the project, forks
for it and writes two lines: the child's number, and at its end its status. The answer
itself is a JSON file that the request names: standard output belongs to the project.
Standard input is a lifeline, too; when it closes, the process that asked is gone and
these end as well.
"""

# ruff: noqa: ANN401  (Alembic's operations and a project's objects have no common type)

import contextlib
import difflib  # noqa: F401  (used later, when a project may have a module of its name)
import gc
import importlib
import importlib.util
import itertools
import json
import os
import runpy
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from inspect import signature
from pathlib import Path
from types import ModuleType
from typing import Any

from alembic import command
from alembic.config import CommandLine, Config
from alembic.operations import ops
from alembic.script import ScriptDirectory, write_hooks
from sqlalchemy import CheckConstraint, Column, ForeignKeyConstraint, Table, UniqueConstraint
from sqlalchemy.dialects.postgresql.base import PGDialect
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

# What most projects import next: loaded here it is loaded once, not by each command.
with contextlib.suppress(ImportError):
    import sqlalchemy.ext.asyncio
    import sqlalchemy.orm  # noqa: F401

Report = dict[str, Any]
TOOLKIT = Path(__file__).resolve().parents[1]
SCRIPTS = TOOLKIT.parent  # ours, also where they lie in the project
load_fence = runpy.run_path(str(TOOLKIT / "fence" / "loading.py"))["load_fence"]
PARSER = CommandLine(prog="alembic").parser

# What nearly all projects import, which starts no thread and opens nothing when it is
# imported: once a command has shown that this project does, the others find it loaded.
# fmt: off
LIBRARIES = frozenset({
    "alembic", "aiomysql", "aiosqlite", "asyncpg", "email_validator", "fastapi", "mako",
    "psycopg", "pydantic", "pydantic_core", "pydantic_settings", "pymysql", "sqlalchemy",
    "sqlmodel", "starlette",
})
# fmt: on


def main() -> int:
    requests = os.fdopen(os.dup(0), "rb")  # with a buffer: a request has thousands of characters
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    silence = os.open(os.devnull, os.O_RDONLY)
    os.dup2(silence, 0)
    os.dup2(2, 1)
    for name in ("child", "sqlite"):
        load_fence(name)
    load_beside("guard")
    gc.freeze()  # else each child's collector copies the pages that it shares with us
    while line := requests.readline():
        request = json.loads(line)
        load(request["libraries"])
        if request["action"] == "trace":  # once, and not by each command: nothing writes bytecode
            load_beside("trace_worker").reader_for(request["scratch"], load_beside("guard"))
        known = len(sys.modules)
        child = os.fork()
        if child == 0:
            answers.close()
            return answer(request, requests.raw, known)
        with contextlib.suppress(OSError):  # it may have ended already
            os.setpgid(child, child)
        answers.write(b"%d\n" % child)
        _, status = os.waitpid(child, 0)
        end_children(child)
        answers.write(b"%d\n" % os.waitstatus_to_exitcode(status))
    return 0


def end_children(group: int) -> None:
    """What the project started in that child goes with it, also after success."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


def load(libraries: list[str]) -> None:
    new = [name for name in libraries if name not in sys.modules]
    for name in new:
        with contextlib.suppress(Exception):  # the project will see its error itself
            importlib.import_module(name)
    if new:
        gc.freeze()


def answer(request: Report, lifeline: Any, known: int) -> int:
    """Carry out one request, in the child; the first `known` modules were imported before."""
    with contextlib.suppress(OSError):
        os.setpgid(0, 0)
    for number, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(request[name], os.O_WRONLY | os.O_APPEND), number)
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["cwd"])

    report: Report = {}
    guard = load_beside("guard")
    # The programs that the ini names for new files are the user's own choice.
    fence = None if request["action"] == "hooks" else enter_fence(request)
    threading.Thread(target=end_with, args=(lifeline,), daemon=True).start()
    try:
        run(request, report, guard, fence)
    except BaseException as error:
        report["error"] = describe_error(error, Path(request["root"]), guard, fence)
    # Only the new ones: to look at each name copies the page that it shares with the parent (#10).
    new = itertools.islice(reversed(sys.modules), max(0, len(sys.modules) - known))
    report["libraries"] = sorted(name for name in new if name.split(".")[0] in LIBRARIES)
    Path(request["result"]).write_text(json.dumps(report), encoding="utf-8")
    return 1 if "error" in report else 0


def end_with(lifeline: Any) -> None:
    lifeline.read()
    os._exit(1)


def enter_fence(request: Report) -> Any:
    """From here on this process reaches the scratch database and nothing else."""
    order = {**request["fence"], "by_main_thread": True}
    return load_fence("child").enter(order, tuple(request["migrations"]))


def load_beside(name: str) -> ModuleType:
    """The module `name` beside this file, under a name that no project has."""
    if f"_alembic_scratch_{name}" in sys.modules:
        return sys.modules[f"_alembic_scratch_{name}"]
    path = Path(__file__).with_name(f"{name}.py")
    spec = importlib.util.spec_from_file_location(f"_alembic_scratch_{name}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look there for the module of their class
    spec.loader.exec_module(module)
    return module


def run(request: Report, report: Report, guard: ModuleType, fence: Any) -> None:
    action: Callable[[Config, Report, Report, ModuleType], None] = ACTIONS[request["action"]]
    sys.path.insert(0, request["import_root"])
    sys.argv = ["alembic", *request["args"]]
    config = make_config(Path(request["ini"]), request["args"])
    borrow_versions(request.get("version_location"))
    if request["scratch"] is None or fence is None:
        action(config, request, report, guard)
        return
    attached = request["fence"]["attached"]
    sqlite_class = load_fence("sqlite").connection_class(fence, attached) if attached else None
    watcher = guard.Guard(make_url(request["scratch"]), fence.opening, sqlite_class)
    watcher.install()
    if request["on_demand"]:
        load_beside("on_demand").install(watcher.family, request["on_demand"])
    action(config, request, report, guard)
    refused = [*watcher.refused, *(line for kind, line in fence.refused if kind == "database")]
    if refused:
        # The project caught the refusal and went on: what it did then proves nothing.
        raise guard.DatabaseRefused(refused[0])


def make_config(ini: Path, args: list[str]) -> Config:
    """Alembic's configuration as its own command line would make it."""
    options = PARSER.parse_args(["-c", str(ini), *args])
    # Both are read: what an ini leaves out may stand in the pyproject.toml of the folder in which
    # `alembic` is run, and the other way round (#12).
    toml = Path("pyproject.toml")
    if ini.name == toml.name:
        ini, toml = Path("alembic.ini"), ini
    # Before Alembic 1.16 nothing but the ini was read.
    reads_toml = "toml_file" in signature(Config.__init__).parameters
    also: dict[str, Any] = {"toml_file": toml} if reads_toml else {}
    return Config(str(ini), ini_section=options.name, cmd_opts=options, **also)


def borrow_versions(location: str | None) -> None:
    """Let Alembic see revisions in one more folder, and run no hooks on new files.

    A new revision lives outside the project until it is proved. The list of folders
    has no setter that works alike in the Alembic versions in use, and rewriting the
    ini's text breaks on paths with spaces, so the finished object is changed.
    """
    original = ScriptDirectory.from_config.__func__  # type: ignore[attr-defined]

    def from_config(cls: type[ScriptDirectory], config: Config) -> ScriptDirectory:
        script: ScriptDirectory = original(cls, config)
        hooks = getattr(script, "hooks", None) or getattr(script, "hook_config", None)
        script.hooks = []
        script.hook_config = {}  # type: ignore[attr-defined]
        script.kept_hooks = hooks  # type: ignore[attr-defined]
        if location:
            own = script.version_locations or [str(Path(script.dir) / "versions")]
            script.version_locations = [*own, location]
        return script

    ScriptDirectory.from_config = classmethod(from_config)  # type: ignore[method-assign, assignment]


def run_command(config: Config, _request: Report, _report: Report, _guard: ModuleType) -> None:
    """The command as given: `upgrade head`, `downgrade -1`, `check`, ..."""
    options = config.cmd_opts
    assert options is not None
    function, positional, keyword = options.cmd
    function(
        config,
        *[getattr(options, name, None) for name in positional],
        **{name: getattr(options, name, None) for name in keyword},
    )


def probe(config: Config, request: Report, report: Report, guard: ModuleType) -> None:
    """The revision graph, and the address that env.py would connect to."""
    before = len(sys.path)
    script = ScriptDirectory.from_config(config)
    prepended = [Path(folder).resolve() for folder in sys.path[: len(sys.path) - before]]
    report["script_location"] = str(Path(script.dir).resolve())
    report["hooks"] = bool(script.kept_hooks)  # type: ignore[attr-defined]
    report["prepends_path"] = Path(request["import_root"]).resolve() in prepended
    watcher = guard.Probe()
    watcher.install()
    meant = load_beside("metadata_worker")
    listener = meant.Listener(Path(script.dir, "env.py"))
    try:
        run_command(config, request, report, guard)
    except guard.DatabaseSeen as seen:
        listener.stopped(seen)
    except BaseException:
        with contextlib.suppress(Exception):  # the first error is the one to tell
            note_history(script, report)
        raise
    finally:
        report["seen"] = watcher.seen
        report["meant"] = meant.among(request.get("sources", ()), listener.targets)
        found = {id(target): len(target.tables) for target in listener.targets}
        report["tables"] = sum(found.values())
        report["imported"] = [name for name in request.get("modules", ()) if name in sys.modules]
    note_history(script, report)


def note_history(script: ScriptDirectory, report: Report) -> None:
    """The revisions are imported after env.py, as `alembic upgrade` does: what they import may
    lead to another order of the project's own imports, in which these fail (#12).
    """
    report["heads"] = [revision_of(script, head) for head in script.get_heads()]
    report["destination"] = str(destination(script).resolve())


def revision_of(script: ScriptDirectory, revision: str) -> Report:
    found = script.get_revision(revision)
    assert found is not None
    return {
        "revision": found.revision,
        "path": found.path,
        "message": found.doc,
        "parent": str(found.down_revision) if found.down_revision else None,
        "labels": sorted(found.branch_labels),
    }


def destination(script: ScriptDirectory) -> Path:
    """The folder that Alembic would write a new revision to.

    What `version_locations` says may be a package's folder (`app:migrations/versions`): it is
    Alembic that knows where that is (#12).
    """
    folders = [Path(folder) for folder in script._version_locations]
    for head in script.get_heads() if len(folders) > 1 else ():
        found = script.get_revision(head)
        for folder in folders:
            if found is not None and Path(found.path).is_relative_to(folder):
                return folder
    return folders[0]


def heads(config: Config, _request: Report, report: Report, _guard: ModuleType) -> None:
    """The heads that Alembic finds, with nothing run."""
    script = ScriptDirectory.from_config(config)
    report["heads"] = [revision_of(script, head) for head in script.get_heads()]


def autogenerate(config: Config, request: Report, report: Report, _guard: ModuleType) -> None:
    """Write the revision into the borrowed folder and describe what it holds."""
    metadatas: list[Any] = []
    scripts: list[Any] = []
    renaming = load_beside("rename_worker")
    enums = load_beside("enum_worker")
    load_beside("defaults_worker").install()

    def note(context: Any, _revision: Any, directives: list[Any]) -> None:
        # Alembic hands the same list to env.py's own hook next, so it is kept and read
        # afterwards; emptying it here would break the usual `directives[0]` there.
        target = context.opts["target_metadata"]
        metadatas.extend(target if isinstance(target, (list, tuple)) else [target])
        described = [metadata for metadata in metadatas if metadata is not None]
        # First: it makes the way back anew, of which others' operations know nothing (#13).
        load_beside("naming_worker").name_constraints(directives, context)
        load_beside("types_worker").install(request.get("dialects") or (), context)
        renames = request.get("renames", ())
        done, candidates = enums.write(context, described, directives, renames)
        load_beside("sequence_worker").write(context, described, directives)
        renames = [rename for rename in renames if rename not in done]
        report["unused_renames"] = renaming.apply_renames(renames, directives, context)
        report["rename_candidates"] = candidates + [
            candidate
            for directive in directives
            for upgrade in directive.upgrade_ops_list
            for candidate in renaming.candidates(upgrade.ops)
        ]
        if request.get("take_out"):
            taker = load_beside("change_worker")
            report["taken_out"] = taker.take_out(context, described, directives)
        load_beside("order_worker").arrange(directives)
        load_beside("batch_worker").install(context)
        if request.get("dialects"):
            load_beside("dialects_worker").install(request["dialects"], context, directives)
        scripts.append(directives)

    written = command.revision(
        config,
        message=request["message"],
        autogenerate=True,
        head=request.get("head", "head"),
        version_path=request["version_location"],
        process_revision_directives=note,
    )
    tables = [table for metadata in metadatas for table in metadata.tables.values()]
    report["tables"] = sorted(table.fullname for table in tables)
    sources = dict.fromkeys(mapped["metadata"] for mapped in request["mapped"])
    # Classes of another database's metadata are not missing; where none is handed over, all are.
    meant = load_beside("metadata_worker").among(sources, metadatas) or sources
    report["missing"] = [
        mapped
        for mapped in request["mapped"]
        if mapped["metadata"] in meant and not is_registered(mapped, tables)
    ]
    report["operations"] = [
        operation
        for directive in (scripts[-1] if scripts else [])
        for upgrade in directive.upgrade_ops_list
        for operation in describe_operations(upgrade.ops)
    ]
    files = written if isinstance(written, list) else [written]
    report["files"] = [str(found.path) for found in files if found is not None]
    report["revisions"] = [found.revision for found in files if found is not None]
    report["parents"] = [found.down_revision for found in files if found is not None]


def is_registered(mapped: dict[str, Any], tables: list[Any]) -> bool:
    """Does this class of the source own one of the metadata's tables?"""
    owner = getattr(sys.modules.get(mapped["module"]), mapped["name"], None)
    # A class may have `columns` of its own, and a Table has no `__table__` (#12).
    table = owner if isinstance(owner, Table) else getattr(owner, "__table__", None)
    if table is not None:
        # Not the same object where env.py has put several metadatas together (#12).
        return any(table is known or table.fullname == known.fullname for known in tables)
    # Imported under another name (`src.app.models`), or not at all.
    return mapped["table"] is not None and any(
        mapped["table"] in (known.name, known.fullname) for known in tables
    )


def describe_operations(operations: list[Any]) -> Iterator[dict[str, Any]]:
    for operation in operations:
        if isinstance(operation, ops.ModifyTableOps):
            yield from describe_operations(list(operation.ops))
        else:
            yield describe_operation(operation)


def describe_operation(operation: Any) -> dict[str, Any]:
    """One Alembic operation as plain values; `op` is the class's name without `Op`."""
    described: dict[str, Any] = {"op": type(operation).__name__.removesuffix("Op")}
    if words := getattr(operation, "words", None):
        described["words"] = words
    for key, attributes in {
        "table": ("table_name", "source_table"),
        "schema": ("schema",),
        "name": ("index_name", "constraint_name"),
        "column": ("column_name",),
        "unique": ("unique",),
        "new": ("new_name", "new_table_name"),
    }.items():
        found = (getattr(operation, attribute, None) for attribute in attributes)
        value = next((one for one in found if one is not None), None)
        if value is not None:
            described[key] = value if isinstance(value, bool) else str(value)
    if isinstance(operation, ops.CreateTableOp):
        for key, kind in {
            "columns": Column,
            "unique_constraints": UniqueConstraint,
            "foreign_keys": ForeignKeyConstraint,
            "checks": CheckConstraint,
        }.items():
            described[key] = sum(isinstance(item, kind) for item in operation.columns)
    elif isinstance(operation, ops.AddColumnOp):
        column = operation.column
        described |= {"column": column.name, "type": str_type(column.type)}
        described["nullable"] = bool(column.nullable)
        described["default"] = column.server_default is not None
    elif isinstance(operation, ops.AlterColumnOp):
        described["changes"] = alterations(operation)
    elif isinstance(operation, (ops.CreateIndexOp, ops.CreateUniqueConstraintOp)):
        described["on"] = [indexed(column) for column in operation.columns]
    elif isinstance(operation, ops.CreateForeignKeyOp):
        described["refers_to"] = operation.referent_table
        described["on"] = list(operation.local_cols)
    elif isinstance(operation, ops.DropConstraintOp):
        described["constraint"] = operation.constraint_type or "constraint"
    return described


def indexed(column: Any) -> str:
    """A column's name, or an expression as it is written: its own name is the function's (#13)."""
    if isinstance(column, (str, Column)) or not hasattr(column, "compile"):
        return str(getattr(column, "name", column))
    options = {"literal_binds": True, "include_table": False}
    try:
        return str(column.compile(compile_kwargs=options))
    except SQLAlchemyError:  # of one database only
        return str(getattr(column, "name", column))


def alterations(operation: Any) -> list[str]:
    changes = []
    if operation.modify_type is not None:
        before, after = str_type(operation.existing_type), str_type(operation.modify_type)
        if before == after:  # an enum and another, arrays: they have names on PostgreSQL only
            names = [operation.existing_type, operation.modify_type]
            before, after = (str_type(one, PGDialect()) for one in names)  # type: ignore[no-untyped-call]
        changes.append(f"type {before} -> {after}")
    if operation.modify_nullable is not None:
        changes.append("nullable" if operation.modify_nullable else "NOT NULL")
    if operation.modify_server_default is not False:
        dropped = operation.modify_server_default is None
        changes.append("server default dropped" if dropped else "server default")
    if operation.modify_name is not None:
        changes.append(f"name -> {operation.modify_name}")
    if operation.modify_comment is not False:
        changes.append("comment")
    return changes


def str_type(kind: Any, dialect: Any = None) -> str:
    with contextlib.suppress(Exception):
        return kind.compile(dialect=dialect) if dialect else str(kind)
    return type(kind).__name__


def run_hooks(config: Config, request: Report, _report: Report, _guard: ModuleType) -> None:
    """The project's post-write hooks (formatters) on a file that is in its place."""
    script = ScriptDirectory.from_config(config)
    hooks = script.kept_hooks  # type: ignore[attr-defined]
    if hooks:
        write_hooks._run_hooks(request["file"], hooks)


def trace(config: Config, request: Report, report: Report, guard: ModuleType) -> None:
    """The command as given, with a record of what each statement did."""
    load_beside("trace_worker").run(config, request, report, guard, globals())


def catalog(config: Config, request: Report, report: Report, guard: ModuleType) -> None:
    """The schema of the scratch database, or the one that the models make on it."""
    load_beside("catalog_worker").ACTIONS[request["action"]](config, request, report, guard)


def paths(config: Config, request: Report, report: Report, guard: ModuleType) -> None:
    """How Alembic would call the files of revisions."""
    load_beside("change_worker").ACTIONS[request["action"]](config, request, report, guard)


def history(config: Config, _request: Report, report: Report, _guard: ModuleType) -> None:
    """All revisions, each after those that it builds on."""
    script = ScriptDirectory.from_config(config)
    report["history"] = [
        {**revision_of(script, one.revision), "parents": list(one._all_down_revisions)}
        for one in reversed(list(script.walk_revisions()))
    ]


def describe_error(error: BaseException, root: Path, guard: ModuleType, fence: Any) -> Report:
    frames = traceback.extract_tb(error.__traceback__)
    if isinstance(error, SyntaxError) and error.filename:
        frames.append(traceback.FrameSummary(error.filename, error.lineno or 0, "<module>"))
    places = [
        f"{frame.filename}:{frame.lineno}"
        for frame in frames
        if Path(frame.filename).is_relative_to(root)
        and "site-packages" not in frame.filename
        and not Path(frame.filename).resolve().is_relative_to(SCRIPTS)
    ]
    missing = error.name if isinstance(error, ModuleNotFoundError) else None
    return {
        "type": type(error).__name__,
        "module": type(error).__module__,
        "message": with_refusal(message_of(error), fence),
        "where": places[-1] if places else None,
        "refused": isinstance(error, guard.DatabaseRefused),
        "missing_module": missing,
        "traceback": "".join(traceback.format_exception(error)),
    }


def with_refusal(message: str, fence: Any) -> str:
    """The error, and what was refused before it, which is its likely cause."""
    lines = (
        [line for kind, line in fence.refused if kind in {"database", "program"}] if fence else []
    )
    return message if not lines or lines[0] in message else f"{message} ({lines[0]})"


def message_of(error: BaseException) -> str:
    """The error's text; for pydantic one line per setting, without the values it was given."""
    list_errors = getattr(error, "errors", None)
    if type(error).__name__ == "ValidationError" and callable(list_errors):
        with contextlib.suppress(Exception):
            return "; ".join(
                f"{'.'.join(str(part) for part in one['loc'])}: {one_line(str(one['msg']))}"
                for one in list_errors(include_input=False, include_context=False)
            )
    return str(error)


def one_line(text: str) -> str:
    """The first lines that say something, shortened."""
    words = " ".join(line for line in text.split("\n") if any(c.isalnum() for c in line))
    return words if len(words) <= 120 else words[:117] + "..."


ACTIONS: dict[str, Callable[[Config, Report, Report, ModuleType], None]] = {
    "command": run_command,
    "probe": probe,
    "autogenerate": autogenerate,
    "hooks": run_hooks,
    "history": history,
    "heads": heads,
    "paths": paths,
    "trace": trace,
    "read_catalog": catalog,
    "create_all": catalog,
}

if __name__ == "__main__":
    sys.exit(main())
