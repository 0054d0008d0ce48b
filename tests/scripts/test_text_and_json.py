"""`--json` and text of generate-migration.sh say the same (#13)."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from projects.shop import ADDRESS, Shop

COLUMN = "    nick: Mapped[str] = mapped_column(String(20), index=True)\n"
BORN = "    born: Mapped[str | None] = mapped_column(String(9), server_default='x')\n"
NAMED = "    nickname: Mapped[str] = mapped_column(String(20), index=True)\n"

SITUATIONS: dict[str, tuple[str, tuple[str, ...]]] = {
    "first": (COLUMN, ("users",)),
    "nothing to do": (COLUMN, ("again",)),
    "a column that goes": ("", ("no nick",)),
    "a column that comes": (COLUMN + BORN, ("born",)),
    "a name or two columns": (NAMED, ("names",)),
    "two columns": (NAMED, ("names", "--no-rename")),
    "expand": (NAMED, ("names", "--expand-contract", "--rename", "users.nick:nickname")),
    "review": (COLUMN, ("--review",)),
    "check of a difference": (COLUMN + BORN, ("--check",)),
    "two things at once": (COLUMN, ("x", "--check")),
}


def flat(text: str) -> str:
    """Without what wrapping and the run itself bring in."""
    text = re.sub(r"\d{4}_\d\d_\d\d_\d{4}-", "", text)
    return re.sub(r"\s+", " ", re.sub(r"(?<![0-9a-f])[0-9a-f]{12}(?![0-9a-f])", "ID", text))


def told(document: dict[str, Any]) -> list[str]:
    """All sentences of a document that a person is to read."""
    found = [document.get(key) for key in ("message", "remedy")]
    for key in ("details", "words", "data_loss", "warnings", "next", "also_proved_on"):
        found += document.get(key, [])
    for one in document.get("findings", []):
        found += [f"{one['verdict'].upper()} [{one['rule']}]", one["message"], *one["evidence"]]
        found += (one["rewrite"] or "").splitlines()
    return [str(one) for one in found if one]


@pytest.mark.any_sqlalchemy
@pytest.mark.sweep(every=7)
@pytest.mark.parametrize("situation", SITUATIONS)
def test_both_tell_the_same(
    tmp_path: Path, make_database: Callable[..., str], situation: str
) -> None:
    make_database("postgresql")  # the tests' server is for scratch databases, too
    columns, arguments = SITUATIONS[situation]
    ended = []
    for name, more in (("text", ()), ("json", ("--json",))):
        shop = Shop(tmp_path / name / "shop")
        if situation != "first":
            shop.add_first()
        shop.edit("app/models.py", COLUMN, columns)
        ended.append(shop.generate(*arguments, *more, url=ADDRESS["postgresql"]))
    text, written = ended
    assert written.code == text.code, written.err + text.err
    document = json.loads(written.out)
    assert document["exit"] == text.code
    shown = flat((text.out + text.err).replace(f"{tmp_path}/text", ""))
    sentences = told(document)
    assert sentences or document["status"] == "reviewed"
    for one in sentences:
        assert flat(one.replace(f"{tmp_path}/json", "")).strip() in shown, one
    heads = re.findall(r"^[A-Z-]+ \[[\w-]+\]", text.out, re.MULTILINE)
    assert len(heads) == len(document.get("findings", [])), text.out
