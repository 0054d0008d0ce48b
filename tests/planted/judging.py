"""What is planted in the forum, by the comments in its source, against what a tool found.

    # fault: NAME LAYER CONFIDENCE [or LAYER CONFIDENCE ...] [on TABLE(COLUMN,...)]
    # innocent: NAME [on TABLE(COLUMN,...)]

A fault has to be reported at the line of its comment; one with several lines, at any of them.
With `on`, the index that the finding proposes has these columns (and maybe more); a fault of the
catalog is known by them alone, since a database does not know lines. Innocent is the whole
function that has the comment, but for lines with a fault; outside of functions, the statement.
"""

import ast
import io
import re
import shutil
import tokenize
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FORUM = Path(__file__).with_name("forum")
KNOWN = r"(?:code|capture|statements|catalog|plans) (?:proved|measured|suspected)"
TAG = re.compile(
    rf"# (?P<kind>fault|innocent): (?P<name>[a-z0-9-]+)(?: (?P<known>{KNOWN}(?: or {KNOWN})*))?"
    r"(?: on (?P<table>\w+)\((?P<columns>[\w,]+)\))?"
)
LOOKS_LIKE_A_TAG = re.compile(r"\b(fault|innocent)\s*:")
TRAILING_TAG = re.compile(r"\s*# (?:fault|innocent): [^\n]*")
SUSPECTED = "suspected"

Finding = Mapping[str, Any]


@dataclass(frozen=True)
class Place:
    """A line, and the lines of the function or statement around it."""

    file: str
    line: int
    around: range


@dataclass
class Planted:
    """A fault or an innocent look-alike."""

    kind: str
    name: str
    known: tuple[tuple[str, str], ...]
    """Layers with their confidence; a finding of any of them is right."""
    table: str | None
    columns: frozenset[str]
    places: list[Place] = field(default_factory=list)

    @property
    def demanded(self) -> bool:
        """Whether it has to be found: what only looks like a fault need not be."""
        return self.kind == "fault" and self.known[0][1] != SUSPECTED

    def shown(self) -> str:
        """What is expected, in words."""
        return " or ".join(" ".join(one) for one in self.known)


@dataclass(frozen=True)
class Verdict:
    """What became of one planted thing in each run: the findings that count for it."""

    planted: Planted
    found: Mapping[str, Sequence[Finding]]

    @property
    def all_found(self) -> list[Finding]:
        return [finding for findings in self.found.values() for finding in findings]


def read_planted(root: Path = FORUM) -> list[Planted]:
    """The faults and innocents of a project, by name. Raises ValueError for a bad comment."""
    planted: dict[str, Planted] = {}
    for path in sorted((root / "app").rglob("*.py")):
        for one in read_tags(path.read_text(encoding="utf-8"), path.relative_to(root).as_posix()):
            known = planted.setdefault(one.name, one)
            if known is one:
                continue
            if known.kind != one.kind:
                raise ValueError(f"{one.name} is a fault and innocent")
            known.places += one.places
            known.known += tuple(pair for pair in one.known if pair not in known.known)
    return sorted(planted.values(), key=lambda one: (one.kind, one.name))


def read_tags(source: str, file: str) -> Iterator[Planted]:
    tree = ast.parse(source)
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type != tokenize.COMMENT or not LOOKS_LIKE_A_TAG.search(token.string):
            continue
        line = token.start[0]
        tag = TAG.fullmatch(token.string)
        if tag is None or (tag["kind"] == "fault") != bool(tag["known"]):
            raise ValueError(f"{file}:{line}: not understood: {token.string}")
        if tag["kind"] == "fault" and not re.search(r"\w", token.line[: token.start[1]]):
            raise ValueError(f"{file}:{line}: a fault on a line without code: {token.string}")
        pairs = tuple(tuple(one.split()) for one in (tag["known"] or "").split(" or ") if one)
        yield Planted(
            tag["kind"],
            tag["name"],
            pairs,
            tag["table"],
            frozenset((tag["columns"] or "").split(",")) - {""},
            [Place(file, line, around(tree, line))],
        )


def around(tree: ast.Module, line: int) -> range:
    """The lines of the innermost function with this line, else of the innermost statement."""
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    spans = [
        (not isinstance(node, functions), node.end_lineno - node.lineno, node)
        for node in ast.walk(tree)
        if isinstance(node, ast.stmt) and node.lineno <= line <= (node.end_lineno or 0)
    ]
    if not spans:
        return range(line, line + 1)
    node = min(spans, key=lambda span: span[:2])[2]
    first = min([node.lineno, *(one.lineno for one in getattr(node, "decorator_list", ()))])
    return range(first, (node.end_lineno or node.lineno) + 1)


def copy_without_tags(destination: Path) -> Path:
    """The forum as its developers would have it; each line keeps its number."""
    ignored = shutil.ignore_patterns("__pycache__", ".pytest_cache", "*.db")
    shutil.copytree(FORUM, destination, ignore=ignored)
    for path in (destination / "app").rglob("*.py"):
        source = path.read_text(encoding="utf-8")
        path.write_text(TRAILING_TAG.sub("", source), encoding="utf-8")
    return destination


def judge(planted: Sequence[Planted], runs: Mapping[str, Sequence[Finding]]) -> list[Verdict]:
    """For a fault the findings that are right; for an innocent those that accuse it."""
    guilty = {
        (place.file, place.line) for one in planted if one.kind == "fault" for place in one.places
    }
    return [
        Verdict(
            one,
            {
                run: [finding for finding in findings if counts(one, finding, guilty)]
                for run, findings in runs.items()
            },
        )
        for one in planted
    ]


def counts(planted: Planted, finding: Finding, guilty: set[tuple[str, int]]) -> bool:
    layer, confidence = finding["layer"], finding["confidence"]
    if planted.kind == "innocent":
        return confidence != SUSPECTED and (
            proposes(finding, planted, exactly=True)
            if layer == "catalog"
            else any(inside(place, finding, guilty) for place in planted.places)
        )
    if (layer, confidence) not in planted.known:
        return False
    if planted.demanded and confidence == SUSPECTED:
        return False  # it may be suspected as well, but has to be known
    if layer == "catalog":
        return proposes(finding, planted, exactly=True)
    at = any(
        (place.file, place.line) == (finding["file"], finding["line"]) for place in planted.places
    )
    return at and (layer != "plans" or proposes(finding, planted, exactly=False))


def inside(place: Place, finding: Finding, guilty: set[tuple[str, int]]) -> bool:
    at = (finding["file"], finding["line"])
    return at[0] == place.file and at[1] in place.around and at not in guilty


def proposes(finding: Finding, planted: Planted, *, exactly: bool) -> bool:
    """Whether the index of a finding is on the planted columns; true where none are planted."""
    if planted.table is None:
        return not exactly
    index = (finding.get("fix") or {}).get("index")
    if index is None:
        return False
    words = set(re.findall(r"\w+", " ".join(index["expressions"]).lower()))
    words -= {"asc", "desc", "nulls", "first", "last"}
    same = words == planted.columns if exactly else planted.columns <= words
    return index["table"].split(".")[-1] == planted.table and same


def strangers(
    planted: Sequence[Planted], runs: Mapping[str, Sequence[Finding]]
) -> list[tuple[str, Finding]]:
    """Findings above suspected at places that nobody planted anything at, with their runs."""
    places = [place for one in planted for place in one.places]
    tables = {(one.table, one.columns) for one in planted if one.table}

    def known(finding: Finding) -> bool:
        if finding["layer"] == "catalog":
            return any(
                proposes(finding, Planted("fault", "", (), *on), exactly=True) for on in tables
            )
        return any(
            place.file == finding["file"] and finding["line"] in place.around for place in places
        )

    return [
        (run, finding)
        for run, findings in runs.items()
        for finding in findings
        if finding["confidence"] != SUSPECTED and not known(finding)
    ]


def as_table(
    verdicts: Sequence[Verdict], runs: Iterable[str], others: Sequence[tuple[str, Finding]]
) -> str:
    """What the test run prints at its end."""
    names = list(runs)
    faults = [one for one in verdicts if one.planted.kind == "fault"]
    innocents = [one for one in verdicts if one.planted.kind == "innocent"]
    width = max(len(one.planted.name) for one in verdicts)
    wide = max(len(one.planted.shown()) for one in faults)
    lines = [f"{'planted fault':{width}}  {'expected':{wide}}  {'  '.join(names)}  rule"]
    for one in faults:
        marks = "  ".join(f"{'yes' if one.found[run] else '-':{len(run)}}" for run in names)
        rules = ", ".join(sorted({finding["rule"] for finding in one.all_found})) or "NOT FOUND"
        if not one.all_found and not one.planted.demanded:
            rules = "not found (need not be)"
        lines.append(f"{one.planted.name:{width}}  {one.planted.shown():{wide}}  {marks}  {rules}")
    found = sum(bool(one.all_found) for one in faults if one.planted.demanded)
    demanded = sum(one.planted.demanded for one in faults)
    accused = [one for one in innocents if one.all_found]
    lines += [
        f"proved or measured faults found with their line: {found} of {demanded}; "
        f"innocents reported above `suspected`: {len(accused)} of {len(innocents)}"
    ]
    lines += [
        f"  ACCUSED {one.planted.name}: {shown(finding)}"
        for one in accused
        for finding in one.all_found
    ]
    lines += [
        f"  neither planted nor innocent ({run}): {shown(finding)}" for run, finding in others
    ]
    return "\n".join(lines)


def shown(finding: Finding) -> str:
    """One line that says which finding it is."""
    place = f"{finding['file']}:{finding['line']}" if finding["file"] else finding["table"]
    return (
        f"{finding['rule']} ({finding['layer']}, {finding['confidence']}) {place} "
        f"{finding['message']}"
    )
