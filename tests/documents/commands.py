"""references/commands.md, made from what the scripts' own parsers say: `make commands` (#16).

A flag is thereby described once, where it is defined; `test_skill.py` compares the file.
"""

import argparse
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from toolkit.connection.command import parser as connection
from toolkit.migration.command import parser as migration
from toolkit.queries.command import parser as queries
from toolkit.report.exits import Exit
from toolkit.setup.command import parser as setup

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "references" / "commands.md"
PARSERS: tuple[Callable[[], argparse.ArgumentParser], ...] = (setup, migration, connection, queries)
HEAD = """\
# The four scripts: flags and exit codes

Made from `--help` of each by `make commands`; do not edit it. Run the scripts from the project's
root with `bash "<skill>/scripts/NAME"`: they use the project's interpreter and ask nothing.
"""


def page() -> str:
    """The whole document."""
    parsers = [make() for make in PARSERS]
    titles = [*(one.prog for one in parsers), "Exit codes"]
    contents = [f"- [{title}](#{anchor(title)})" for title in titles]
    sections = [section(one) for one in parsers]
    return "\n".join([HEAD, *contents, "", *sections, exit_codes()])


def anchor(title: str) -> str:
    """What a link to it says after its `#`."""
    return re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")


def section(parser: argparse.ArgumentParser) -> str:
    rows = [f"| {flag(one)} | {cell(one.help or '')} |" for one in shown(parser)]
    remarks = (parser.epilog or "").partition("exit codes:\n")[0]
    parts = [
        f"## {parser.prog}",
        "",
        *paragraphs(parser.description or ""),
        "| Flag | Meaning |",
        "| --- | --- |",
        *rows,
        "",
        *paragraphs(remarks),
    ]
    return "\n".join(parts)


def shown(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    return (one for one in parser._actions if one.dest != "help")


def flag(action: argparse.Action) -> str:
    name = action.option_strings[0] if action.option_strings else ""
    value = action.metavar or ("" if name else action.dest.upper())
    if action.choices:
        value = "|".join(map(str, action.choices))
    if not value and action.nargs != 0 and name:
        value = action.dest.upper()
    text = f"{name} {f'[{value}]' if action.nargs == '?' and name else value}".strip()
    return f"`{cell(text)}`"


def cell(text: str) -> str:
    return text.replace("|", "\\|").replace("%%", "%")


def paragraphs(text: str) -> Iterator[str]:
    """Prose as it is; what is set in by two blanks as a block of code."""
    inside = False
    for line in text.strip().splitlines():
        code = line.startswith("  ")
        if code and not inside:
            yield ""
        if inside and not code and line:
            yield ""
        yield f"  {line}" if code else line
        inside = code
    yield ""


def exit_codes() -> str:
    rows = [f"| {code.value} | {code.meaning} |" for code in Exit]
    return (
        "\n".join(
            [
                "## Exit codes",
                "",
                "One list for all.",
                "",
                "| Code | Meaning |",
                "| ---: | --- |",
                *rows,
            ]
        )
        + "\n"
    )


if __name__ == "__main__":
    FILE.write_text(page(), encoding="utf-8")
    print(f"wrote {FILE.relative_to(ROOT)}")
