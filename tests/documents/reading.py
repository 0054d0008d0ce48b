"""The fenced blocks of a document, with what the comments before them say.

Sybil finds the fences, in Markdown and in the docstrings of Python files. pytest-examples
would format and compare as well, but knows Python fences only; here bash, SQL, ini and
shown output are run or compared, too.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from sybil import Document, Region
from sybil.document import PythonDocStringDocument
from sybil.parsers.markdown.lexers import FencedCodeBlockLexer

LANGUAGES = ("python", "bash", "sql", "ini", "toml", "yaml", "text")
DIALECTS = ("sqlite", "postgresql", "mysql")
_COMMENT = re.compile(r"<!--\s*(?P<name>[a-z]+)(?::\s*(?P<value>.*?))?\s*-->")


class DocumentError(Exception):
    """A document that cannot be carried out as it is written; names file and line."""


@dataclass
class Block:
    """One fence. `line` is that of its first line of source, counted from 1."""

    path: Path
    line: int
    language: str
    source: str
    on: tuple[str, ...] = DIALECTS
    sqlalchemy: str = ""
    """A version that it is limited to, such as 2.1."""
    file: str = ""
    """Where in the project the block is written to."""
    symptom: str = ""
    """Type and message of the exception that it has to raise."""
    cure: bool = False
    expected: str | None = None
    """What it prints."""

    @property
    def place(self) -> str:
        return f"{self.path}:{self.line}"


def read_blocks(path: Path) -> list[Block]:
    """Every fence of the document in order; those of shown output are part of the block before.

    Raises DocumentError for what would otherwise be passed over in silence.
    """
    text = path.read_text(encoding="utf-8")
    kind = PythonDocStringDocument if path.suffix == ".py" else Document
    document = kind.parse(str(path), _parse)
    found = [example.parsed for example in document.examples()]
    blocks = [_block(path, text, *one) for one in found]
    fences = len(re.findall(r"(?m)^[ \t]*```[a-z]*[ \t]*$", text))
    if fences != 2 * len(blocks):
        raise DocumentError(f"{path}: {fences} lines of fences, but {len(blocks)} blocks were read")
    return _with_outputs(blocks)


def _parse(document: Document) -> list[Region]:
    regions = []
    for region in FencedCodeBlockLexer(r"[a-z]*")(document):
        region.parsed = (region.lexemes["language"], region.lexemes["source"], region.start)
        region.evaluator = lambda example: None
        regions.append(region)
    return regions


def _block(path: Path, text: str, language: str, source: str, start: int) -> Block:
    # In a docstring the position counts from there, so the fence is looked for in the file.
    first = next(iter(source.splitlines()), "")
    line = _line_of(text, language, source, start) if path.suffix == ".py" else None
    if line is None:
        line = text.count("\n", 0, start) + 2
    block = Block(path, line, language, source)
    if language not in LANGUAGES:
        raise DocumentError(f"{block.place}: a fence of {language or 'no language'} ({first!r})")
    for name, value in _marks(text.splitlines()[: line - 2]):
        if name == "on":
            block.on = tuple(value.split())
            if not block.on or set(block.on) - set(DIALECTS):
                raise DocumentError(f"{block.place}: `on: {value}` names no database")
        elif name in ("sqlalchemy", "file", "symptom") and value:
            setattr(block, name, value)
        elif name == "cure":
            block.cure = True
        else:
            raise DocumentError(f"{block.place}: the comment `{name}` has no meaning")
    return block


def _line_of(text: str, language: str, source: str, start: int) -> int | None:
    wanted = [line.strip() for line in source.splitlines()]
    lines = [line.strip() for line in text.splitlines()]
    for number in range(len(lines)):
        if lines[number] == f"```{language}" and lines[number + 1 :][: len(wanted)] == wanted:
            return number + 2
    return None


def _marks(before: list[str]) -> list[tuple[str, str]]:
    """The comments directly above a fence."""
    marks = []
    while before:
        found = _COMMENT.fullmatch(before.pop().strip())
        if not found:
            break
        marks.append((found["name"], found["value"] or ""))
    return marks


def _with_outputs(blocks: list[Block]) -> list[Block]:
    kept: list[Block] = []
    waiting: Block | None = None
    for block in blocks:
        if block.language == "text":
            if not kept or kept[-1].language not in ("python", "bash", "sql"):
                raise DocumentError(f"{block.place}: output, but nothing before it prints")
            if kept[-1].expected is not None:
                raise DocumentError(f"{block.place}: a second output of one block")
            kept[-1].expected = block.source
            continue
        if waiting is not None and block.symptom:
            raise DocumentError(f"{waiting.place}: a symptom whose cure is not shown")
        waiting = block if block.symptom else None if block.cure else waiting
        kept.append(block)
    if waiting is not None:
        raise DocumentError(f"{waiting.place}: a symptom whose cure is not shown")
    return kept
