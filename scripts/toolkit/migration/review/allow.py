"""Comments that allow a finding: a person has looked at it and says why.

    op.drop_column("users", "nick")  # migration-review: allow[drop-column] unused since 1.2

The comment stands on the statement's lines, on the lines of comment directly above it, or
before the file's first statement, where it counts for the whole file. The reason is
required: without one the finding stays and the comment is a finding, too. `-- squawk-ignore`
in SQL (with squawk's names of rules, or none for all) works for the statement it is in.
"""

import ast
import io
import re
import tokenize
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from toolkit.report.finding import Finding, Verdict

COMMENT = re.compile(r"#\s*migration-review:\s*allow(?:\[(?P<rules>[^\]]*)\])?(?P<reason>.*)$")
IGNORE = re.compile(r"--\s*squawk-ignore(?!-file)\b(?P<rules>[\w, -]*)")
SQUAWK = "squawk-ignore"
# What squawk calls the things that we find; a rule of its with none is about nothing of ours.
SQUAWK_NAMES = {rule: frozenset(words.split()) for rule, words in {
    "adding-exclusion-constraint": "exclusion-scan",
    "adding-field-with-default": "add-column-rewrite",
    "adding-foreign-key-constraint": "foreign-key-scan foreign-key-lock",
    "adding-not-nullable-field": "set-not-null-scan add-not-null-column",
    "adding-required-field": "add-not-null-column",
    "adding-serial-primary-key-field": "primary-key-scan add-column-rewrite",
    "ban-alter-identity": "drop-identity identity-always identity-starts-anew",
    "ban-concurrent-index-creation-in-transaction": "concurrently-in-transaction",
    "ban-create-domain-with-constraint": "add-column-rewrite",
    "ban-drop-column": "drop-column rename-as-drop-and-add drop-generated-column",
    "ban-drop-constraint": "drop-unique",
    "ban-drop-database": "",
    "ban-drop-default": "drop-default drop-default-of-new-column drop-identity",
    "ban-drop-extension": "drop-extension",
    "ban-drop-function": "drop-function",
    "ban-drop-generated-expression": "",
    "ban-drop-not-null": "",
    "ban-drop-schema": "drop-schema drop-table",
    "ban-drop-sequence": "drop-sequence drop-identity",
    "ban-drop-table": "drop-table",
    "ban-drop-type": "drop-type",
    "ban-drop-view": "drop-view view-loses-column",
    "ban-set-schema": "rename-table",
    "ban-truncate-cascade": "truncate",
    "changing-column-type": "type-change-rewrite type-change-index"
    " type-of-another-kind type-change-depends-on-timezone",
    "constraint-missing-not-valid": "check-scan foreign-key-scan exclusion-scan unique-scan"
    " validate-with-lock",
    "disallowed-unique-constraint": "unique-scan",
    "renaming-column": "rename-column",
    "renaming-object": "rename-enum-value rename-function rename-type rename-schema",
    "renaming-table": "rename-table",
    "require-concurrent-index-creation": "index-not-concurrent",
    "require-concurrent-index-deletion": "drop-index",
    "require-concurrent-partition-detach": "detach-partition",
    "require-concurrent-reindex": "reindex",
    "require-timeout-settings": "no-lock-timeout",
}.items()}  # fmt: skip


@dataclass(frozen=True)
class Comment:
    """One comment that allows something."""

    rules: frozenset[str]
    """Empty: all rules (squawk-ignore only)."""
    reason: str
    line: int
    first: int
    """The lines that it counts for; `first` > `last` for the whole file."""
    last: int

    def covers(self, finding: Finding) -> bool:
        if self.rules and finding.rule not in self.rules:
            return False
        if self.first > self.last:
            return True
        return finding.line is not None and self.first <= finding.line <= self.last


def apply_comments(findings: Sequence[Finding], sources: Mapping[str, str]) -> list[Finding]:
    """Findings without the allowed ones, and one for each comment that is not right."""
    comments = {file: comments_of(source) for file, source in sources.items()}
    used: set[tuple[str, int]] = set()
    kept: list[Finding] = []
    for finding in findings:
        allowed = False
        for comment in comments.get(finding.file or "", ()):
            if comment.covers(finding):
                used.add((finding.file or "", comment.line))
                allowed = allowed or bool(comment.reason)
        if not allowed:
            kept.append(finding)
    revisions = {one.file: one.revision for one in findings}
    for file, found in comments.items():
        for comment in found:
            problem = None
            if not comment.reason:
                problem = ("allow-without-reason", "This comment allows nothing: it has no reason.")
            elif (file, comment.line) not in used and comment.reason != SQUAWK:
                problem = ("allow-unused", "This comment allows what is not found here any more.")
            if problem is not None:
                kept.append(
                    Finding(
                        rule=problem[0],
                        verdict=Verdict.STYLE,
                        message=problem[1],
                        evidence=(", ".join(sorted(comment.rules)),),
                        revision=revisions.get(file),
                        file=file,
                        line=comment.line,
                        source="operations",
                    )
                )
    return kept


@lru_cache(maxsize=256)
def comments_of(source: str) -> tuple[Comment, ...]:
    if "migration-review" not in source and SQUAWK not in source:
        return ()  # as nearly all: to look at each token takes as long as all other rules
    try:
        tree = ast.parse(source)
        tokens = list(tokenize.generate_tokens(io.StringIO(source).readline))
    except (SyntaxError, tokenize.TokenError):
        return ()
    spans = sorted(statement_spans(tree))
    code = {t.start[0] for t in tokens if t.type not in NO_CODE}
    top = first_statement(tree)
    found: list[Comment] = []
    for token in tokens:
        line = token.start[0]
        match = COMMENT.match(token.string) if token.type == tokenize.COMMENT else None
        if match is None:
            continue
        rules = frozenset(re.split(r"[\s,]+", (match["rules"] or "").strip())) - {""}
        reason = match["reason"].strip(" -:") if rules else ""
        first, last = (1, 0) if line < top else span_at(spans, below(line, code))
        found.append(Comment(rules or frozenset({"?"}), reason, line, first, last))
    for number, text in enumerate(source.splitlines(), start=1):
        ignore = IGNORE.search(text)
        if ignore is not None:
            names = re.split(r"[\s,]+", ignore["rules"].strip())
            ours = {rule for name in names for rule in SQUAWK_NAMES.get(name) or {name}} - {""}
            first, last = span_at(spans, number)
            found.append(Comment(frozenset(ours), SQUAWK, number, first, last))
    return tuple(found)


NO_CODE = {
    tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT,
    tokenize.ENDMARKER,
}  # fmt: skip


def statement_spans(tree: ast.Module) -> list[tuple[int, int]]:
    """First and last line of each statement that holds no others."""
    return [
        (node.lineno, node.end_lineno or node.lineno)
        for node in ast.walk(tree)
        if isinstance(node, ast.stmt) and not hasattr(node, "body")
    ] + [
        # `with`, `for` and `while` heads: a comment above them is for what they hold.
        (node.lineno, node.end_lineno or node.lineno)
        for node in ast.walk(tree)
        if isinstance(node, (ast.With, ast.For, ast.While, ast.FunctionDef))
    ]


def first_statement(tree: ast.Module) -> int:
    """The line of the first statement that is not the docstring."""
    body = tree.body[1:] if ast.get_docstring(tree) is not None else tree.body
    return body[0].lineno if body else 1


def below(line: int, code: set[int]) -> int:
    """The line of code that a comment belongs to: its own, or the next one."""
    later = [number for number in code if number >= line]
    return min(later) if later else line


def span_at(spans: Sequence[tuple[int, int]], line: int) -> tuple[int, int]:
    """The widest statement that begins in this line, else the narrowest around it."""
    begins = [span for span in spans if span[0] == line]
    if begins:
        return max(begins, key=lambda span: span[1])
    around = [span for span in spans if span[0] <= line <= span[1]]
    return max(around, key=lambda span: span[0]) if around else (line, line)
