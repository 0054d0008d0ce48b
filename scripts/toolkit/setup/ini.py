"""alembic.ini as text: make ours, and repair the least in a person's."""

import configparser
import re
import shutil
from pathlib import Path

from toolkit.setup.changes import relative


def render_ini(template: str, ini: Path, script_location: Path, import_root: Path) -> str:
    """The template with the two lines that depend on the layout."""
    text = _set(template, "script_location", _here(script_location, ini.parent))
    return _set(text, "prepend_sys_path", _here(import_root, ini.parent))


def with_import_root(text: str, ini: Path, import_root: Path, section: str = "alembic") -> str:
    """A person's ini with `prepend_sys_path`, if it has none; else as it is.

    Without it `alembic` finds the project only where somebody exports PYTHONPATH.
    """
    if option(text, "prepend_sys_path", section) is not None:
        return text
    lines = text.splitlines(keepends=True)
    inside = ""
    for number, line in enumerate(lines):
        if header := re.match(r"\[([^\]]+)\]", line):
            inside = header[1]
        if inside == section and re.match(r"script_location\s*[=:]", line):
            end = "\r\n" if line.endswith("\r\n") else "\n"
            # Without `path_separator`, Alembic cuts paths at spaces: then only a short one is safe.
            safe = option(text, "path_separator", section) is not None
            path = _here(import_root, ini.parent) if safe else relative(import_root, ini.parent)
            added = f"# where `import app` finds the project{end}prepend_sys_path = {path}{end}"
            return "".join([*lines[: number + 1], added, *lines[number + 1 :]])
    return text


def missing_hooks(text: str) -> list[str]:
    """Tools that run after each new revision and are not there: `revision` would fail."""
    parser = _parse(text)
    section = "post_write_hooks"
    if parser is None or not parser.has_option(section, "hooks"):
        return []
    missing = []
    for hook in re.split(r"[,\s]+", parser.get(section, "hooks")):
        kind = parser.get(section, f"{hook}.type", fallback="")
        tool = parser.get(section, f"{hook}.entrypoint", fallback="")
        if kind == "exec":
            tool = parser.get(section, f"{hook}.executable", fallback="")
        name = Path(tool.replace("%(here)s/", "")).name
        if name and shutil.which(name) is None and not _beside_python(name):
            missing.append(name)
    return missing


def option(text: str, name: str, section: str = "alembic") -> str | None:
    """An option of the section as it is written, None where it is not set."""
    parser = _parse(text)
    if parser is None or not parser.has_option(section, name):
        return None
    return parser.get(section, name)


def _parse(text: str) -> configparser.RawConfigParser | None:
    parser = configparser.RawConfigParser()
    try:
        parser.read_string(text)
    except configparser.Error:
        return None
    return parser


def _beside_python(name: str) -> bool:
    """A console script or module of the interpreter that runs this, which is the project's."""
    from importlib import metadata  # noqa: PLC0415  (slow, and rarely needed)

    scripts = metadata.entry_points(group="console_scripts")
    return any(script.name == name for script in scripts)


def _here(target: Path, folder: Path) -> str:
    name = relative(target, folder)
    return "%(here)s" if name == "." else f"%(here)s/{name}"


def _set(text: str, name: str, value: str) -> str:
    line = f"{name} = {value}"
    changed, count = re.subn(rf"(?m)^{name}\s*=.*$", lambda _: line, text, count=1)
    if not count:
        raise ValueError(f"templates/alembic.ini has no line `{name} = ...`")
    return changed
