"""The checker itself, on documents that are broken in every way that it has to see."""

from pathlib import Path

import pytest

from documents.reading import DocumentError, read_blocks
from documents.test_documents import carry_out

pytestmark = pytest.mark.any_sqlalchemy


def written(folder: Path, text: str) -> Path:
    path = folder / "document.md"
    path.write_text(text, encoding="utf-8")
    return path


def fence(language: str, *lines: str, mark: str = "") -> str:
    body = "\n".join(lines)
    return f"{mark}\n```{language}\n{body}\n```\n" if mark else f"```{language}\n{body}\n```\n"


def test_what_is_read(tmp_path: Path) -> None:
    marks = "<!-- on: postgresql mysql -->\n<!-- sqlalchemy: 2.1 -->"
    text = (
        "# Title\n\n"
        + fence("python", "print(1)", mark=marks)
        + "\n"
        + fence("text", "1")
        + "\nwords\n\n"
        + fence("bash", "true")
    )
    first, second = read_blocks(written(tmp_path, text))
    assert (first.line, first.language, first.source) == (6, "python", "print(1)\n")
    assert (first.on, first.sqlalchemy, first.expected) == (("postgresql", "mysql"), "2.1", "1\n")
    assert (second.line, second.language, second.expected) == (16, "bash", None)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (fence("", "print(1)"), "a fence of no language"),
        (fence("pyton", "print(1)"), "a fence of pyton"),
        (fence("text", "1"), "nothing before it prints"),
        (fence("python", "1", mark="<!-- skip -->"), "`skip` has no meaning"),
        (fence("python", "1", mark="<!-- on: oracle -->"), "names no database"),
        (fence("python", "1", mark="<!-- symptom: ValueError: x -->"), "cure is not shown"),
        ("```python\nprint(1)\n", "1 lines of fences"),
    ],
)
def test_what_is_refused(text: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(DocumentError, match=words):
        read_blocks(written(tmp_path, text))


@pytest.mark.parametrize(
    ("block", "words"),
    [
        (fence("python", "x = 1", "prnt(x)"), "NameError: name 'prnt'"),
        (fence("python", "from app.db.models import Nobody"), "ImportError"),
        (fence("python", "print(2)") + fence("text", "3"), "the document shows"),
        (fence("python", "import warnings", "warnings.warn('old')"), "UserWarning: old"),
        (fence("bash", "false"), "exit code 1"),
        (fence("sql", "SELEC 1"), "SELEC"),
        (fence("toml", "a ="), "TOMLDecodeError"),
        (fence("ini", "a = 1"), "MissingSectionHeader"),
        (fence("yaml", "- run: 'false'"), "exit code 1"),
        (fence("yaml", "- uses: nothing"), "steps that run nothing"),
        (fence("python", "raise ValueError('no')", mark="<!-- file: app/x.py -->"), "ValueError"),
        (
            fence("python", "1", mark="<!-- symptom: ValueError: no -->")
            + fence("python", "1", mark="<!-- cure -->"),
            "it should raise ValueError: no, and ran",
        ),
        (
            fence("python", "raise KeyError('no')", mark="<!-- symptom: ValueError: no -->")
            + fence("python", "1", mark="<!-- cure -->"),
            "it should raise ValueError: no, and raised",
        ),
        (
            fence("python", "int('x')", mark="<!-- symptom: ValueError: invalid -->")
            + fence("python", "int('x')", mark="<!-- cure -->"),
            "ValueError: invalid literal",
        ),
    ],
)
def test_a_wrong_block_is_named_by_file_and_line(block: str, words: str, tmp_path: Path) -> None:
    """The block before it runs; the wrong one is told by its line."""
    path = written(tmp_path, "# Title\n\n" + fence("python", "print('fine')") + "\n" + block)
    blocks = read_blocks(path)
    done, wrong = carry_out(path, blocks, f"sqlite:///{tmp_path}/x.db", tmp_path)
    assert done[0] == 4
    at_fault = blocks[len(done)].line
    assert wrong.startswith(f"{path.name}:{at_fault}:") or f"document.md:{at_fault}:" in wrong
    assert words in wrong
