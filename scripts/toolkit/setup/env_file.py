"""What becomes of an env.py: made, kept up to date, repaired, or replaced."""

import ast
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeGuard

from toolkit.project.databases import with_setting
from toolkit.project.facts import AlembicSetup, Project, UrlSource
from toolkit.project.imports import dotted
from toolkit.project.reach import missing_modules, module_file, reachable
from toolkit.setup.changes import FileChange, read_text, relative
from toolkit.setup.env_options import lost_options
from toolkit.setup.settings_block import (
    EnvFile,
    completed,
    modules_of,
    render_block,
    with_modules,
)


@dataclass(frozen=True)
class EnvPlan:
    """The change (its `before` equals `after` where nothing is to be done) and what to say."""

    change: FileChange
    notes: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    """What the old file told Alembic and the new one does not, each with its line."""


@dataclass(frozen=True)
class Wanted:
    """What env.py has to know about the project."""

    modules: tuple[str, ...]
    url: UrlSource
    explicit: bool
    """--base or --url-from was given: the whole block follows it."""
    dotenv: bool = False
    """The URL's variable stands in a `.env`, which python-dotenv can read."""
    dialects: str = ""
    """The line of DIALECTS; empty where nothing tells the project's databases."""
    dialects_said: bool = False
    """By --dialects, which goes before what is there."""
    normalizer: str = ""
    """The scaffold's module with `normalize_url`."""


def plan_env(
    path: Path,
    template: str,
    project: Project,
    wanted: Wanted,
    setup: AlembicSetup | None,
    *,
    force: bool,
) -> EnvPlan:
    """Decide about the env.py at `path`; `setup` is what is known of it, if it exists."""
    ours = EnvFile.parse(template)
    if ours is None:
        raise ValueError("templates/env.py has no settings block")
    written = render_block(
        wanted.modules,
        project.bases,
        wanted.url,
        dotenv=wanted.dotenv,
        dialects=wanted.dialects,
        normalizer=wanted.normalizer or normalizer_in(read_text(path) or ""),
    )
    fresh = ours.with_block(completed(written, ours.block))
    before = read_text(path)
    if before is None:
        kind = "Alembic environment" if project.is_sync else "async Alembic environment"
        return EnvPlan(FileChange(path, None, fresh.text(), kind))
    current = EnvFile.parse(before)
    if current is None:
        return _hand_written(path, before, fresh, project, wanted, setup=setup, force=force)
    block = fresh.block
    notes: tuple[str, ...] = ()
    if current.block != ours.block and not wanted.explicit:
        block, notes = _updated_block(current.block, project, wanted)
        block = _with_dialects(block, wanted)
    if current.same_code(ours):
        after = current.with_block(block)
        reason = "settings of this project"
        changed = _like(before, after.text()) if after != current else before
        return EnvPlan(FileChange(path, before, changed, reason), notes)
    if force:
        after = ours.with_block(completed(block, ours.block))
        reason = "renewed from the template"
        change = FileChange(path, before, _like(before, after.text()), reason, True, True)
        return EnvPlan(change, notes, _lost(change, project))
    after = current.with_block(block)
    changed = _like(before, after.text()) if after != current else before
    edited = (
        "env.py is not this skill's template any more outside of its settings block; "
        "that part is left as it is (--force renews it and keeps a backup)"
    )
    reason = "settings of this project"
    return EnvPlan(FileChange(path, before, changed, reason, True), (*notes, edited))


def _updated_block(block: str, project: Project, wanted: Wanted) -> tuple[str, tuple[str, ...]]:
    """Only MODEL_MODULES follows the source; what a person wrote beside it stays."""
    listed = modules_of(block)
    if listed is None:
        return block, (
            "MODEL_MODULES in env.py is not a plain tuple of names; it is left as it is",
        )
    root = project.import_roots
    kept = [name for name in listed if module_file(root, name) is not None]
    reached = reachable(root, kept)
    missing = [name for name in wanted.modules if name not in reached]
    if not missing and len(kept) == len(listed):
        return block, ()
    changed = with_modules(block, sorted({*kept, *missing}))
    return changed or block, ()


def normalizer_in(text: str) -> str:
    """The module from which an env.py of ours has it."""
    found = re.search(r"(?m)^    from ([\w.]+) import normalize_url$", text)
    return found[1] if found else ""


def _with_dialects(block: str, wanted: Wanted) -> str:
    """What is said now: a guess is made once, and what a person wrote stays."""
    said = wanted.dialects and wanted.dialects_said
    return (with_setting(block, wanted.dialects) or block) if said else block


def _hand_written(
    path: Path,
    before: str,
    fresh: EnvFile,
    project: Project,
    wanted: Wanted,
    *,
    setup: AlembicSetup | None,
    force: bool,
) -> EnvPlan:
    # What is synchronous may be meant so, or do its work nevertheless (#12).
    fits = project.is_sync or (setup is not None and (setup.is_async or setup.works_sync))
    if force or not fits or gives_no_metadata(before):
        reason = "replaced by the template" if force else "it gives Alembic no metadata"
        reason = reason if fits else "synchronous, made asynchronous"
        text = _like(before, fresh.text())
        change = FileChange(path, before, text, reason, True, True)
        return EnvPlan(change, lost=_lost(change, project))
    unchanged = FileChange(path, before, before, "")
    missing, by_rule = missing_modules(before, project, wanted.modules, setup)
    if not missing:
        return EnvPlan(unchanged)
    if by_rule and not (setup and setup.imports_asked):
        note = (
            "env.py, or what it imports, imports modules by a rule of its own; whether it finds "
            f"{', '.join(missing)} is only seen when it runs"
        )
        return EnvPlan(unchanged, (note,))
    reason = f"imports of models that it leaves out: {', '.join(missing)}"
    return EnvPlan(FileChange(path, before, with_imports(before, missing), reason, True))


def gives_no_metadata(text: str) -> bool:
    """As `alembic init` leaves it, or by its last word: to import the models there would not
    help.
    """

    def assigns(node: ast.AST) -> TypeGuard[ast.Assign]:
        return isinstance(node, ast.Assign) and "target_metadata" in map(dotted, node.targets)

    tree = ast.parse(text.removeprefix("\ufeff"))
    overruled = list(filter(assigns, tree.body))[:-1]
    given = [
        node.value
        for node in ast.walk(tree)
        if (isinstance(node, ast.keyword) and node.arg == "target_metadata")
        or (assigns(node) and node not in overruled)
    ]
    own = [value for value in given if dotted(value) != "target_metadata"]
    return bool(own) and all(isinstance(one, ast.Constant) and one.value is None for one in own)


def _lost(change: FileChange, project: Project) -> tuple[str, ...]:
    where = relative(change.path, project.root)
    try:
        found = lost_options(change.before or "", change.after)
    except SyntaxError:  # said elsewhere: env.py does not run as it is
        return ()
    return tuple(
        f"{where}:{option.line} {option.text} is not carried over: add it to what"
        " migration_options() in the new env.py returns, if it is needed"
        for option in found
    )


def with_imports(text: str, modules: Sequence[str]) -> str:
    """`text` with these imported behind its last import; every name it had keeps its meaning."""
    body = ast.parse(text.removeprefix("\ufeff")).body
    last = max(
        (node.end_lineno or 0 for node in body if isinstance(node, ast.Import | ast.ImportFrom)),
        default=0,
    )
    newline = "\r\n" if "\r\n" in text else "\n"
    added = [
        "",
        "# Added by setup-alembic.sh: a table whose model is not imported would be dropped.",
        # `import app.models` alone would bind `app`, which env.py may use for something else.
        *(f"import {name} as _{name.replace('.', '_')}  # noqa: E402, F401" for name in modules),
        "",
    ]
    lines = text.splitlines(keepends=True)
    if last and not lines[last - 1].endswith("\n"):
        lines[last - 1] += newline
    following = lines[last] if last < len(lines) else ""
    if not following.strip():
        added.pop()
    return "".join([*lines[:last], *(f"{line}{newline}" for line in added), *lines[last:]])


def _like(before: str, text: str) -> str:
    """`text` with the line ends of the file that it replaces."""
    return text.replace("\n", "\r\n") if "\r\n" in before else text
