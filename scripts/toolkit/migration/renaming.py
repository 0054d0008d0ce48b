"""Renames on the command line: `table.old:new` for a column, `old:new` for a table."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from toolkit.migration.refusal import Refusal
from toolkit.report.exits import Exit
from toolkit.report.quoting import word

RENAME = re.compile(
    r"(?:(?P<schema>[^.:]+)\.)??(?:(?P<table>[^.:]+)\.)?(?P<old>[^.:]+):(?P<new>[^.:]+)"
)


def read_renames(words: Iterable[str]) -> list[dict[str, Any]]:
    """As `apply_renames` of the worker takes them. Raises Refusal for another form."""
    return [read_rename(word) for word in words]


def read_rename(word: str) -> dict[str, Any]:
    found = RENAME.fullmatch(word.strip())
    if found is None:
        raise Refusal(
            "rename",
            Exit.USAGE,
            f"--rename {word} is not understood.",
            "Write table.old:new for a column (schema.table.old:new), old:new for a table.",
        )
    if found["table"] is None:
        return {"schema": None, "table": found["old"], "column": None, "new": found["new"]}
    return {
        "schema": found["schema"],
        "table": found["table"],
        "column": found["old"],
        "new": found["new"],
    }


def as_flag(rename: Mapping[str, Any]) -> str:
    """The option that asks for it."""
    parts = [rename["schema"], rename["table"], rename["column"]]
    return f"--rename {word('.'.join(part for part in parts if part) + ':' + rename['new'])}"


def may_be_renames(candidates: Iterable[Mapping[str, Any]]) -> Refusal:
    flags = [as_flag(one) for one in candidates]
    return Refusal(
        "rename",
        Exit.RENAME,
        "A drop and an add look like a rename, and a drop loses the values.",
        "Run it again with each --rename that is meant, or with --no-rename to drop and add.",
        flags,
    )


def nothing_to_rename(unused: Iterable[Mapping[str, Any]], lines: Iterable[str]) -> Refusal:
    flags = ", ".join(as_flag(one) for one in unused)
    return Refusal(
        "rename",
        Exit.USAGE,
        f"There is no such drop and add: {flags}.",
        "--rename names what is dropped, then what is added.",
        list(lines),
    )
