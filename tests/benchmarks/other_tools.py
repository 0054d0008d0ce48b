"""What the rules of four other tools name: hazards of ours, by the names of our rules.

A tool is right about a revision of the corpus where one of its rules names a hazard of the
revision's first line; where only others spoke, it is right for a wrong reason. A rule with no
hazard here warns of what is none in the corpus. In doubt the tool is given it: a rule about a new
type is right wherever a new type is the hazard, whatever it fears of it.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from toolkit.migration.review.allow import SQUAWK_NAMES

NEW_TYPE = (
    "type-change-rewrite type-change-index type-change-loses type-of-another-kind"
    " type-change-depends-on-timezone"
)
COLUMN_GONE = "drop-column rename-as-drop-and-add"
TABLE_GONE = "drop-table rename-table swap-table"  # swapped by two renames
HAZARDS: Mapping[str, Mapping[str, Collection[str]]] = {
    "squawk": {**SQUAWK_NAMES, "renaming-table": TABLE_GONE.split()},
    "alembic-guard": {rule: words.split() for rule, words in {
        "add-not-null-column": "add-not-null-column",
        "column-type-change": NEW_TYPE,
        "concurrent-index-in-transaction": "concurrently-in-transaction",
        "constraint-validated-under-lock":
            "check-scan foreign-key-scan foreign-key-lock validate-with-lock",
        "drop": f"{COLUMN_GONE} drop-table",
        "index-not-concurrent": "index-not-concurrent drop-index",
        "rename": "rename-column rename-table swap-table",
        "set-not-null": "set-not-null-scan",
        "unique-or-primary-key-constraint": "unique-scan primary-key-scan",
        "volatile-default": "add-column-rewrite",
    }.items()},
    "zdm": {rule: words.split() for rule, words in {
        "add-field-foreign-key": "foreign-key-scan foreign-key-lock",
        "add-field-not-null": "add-not-null-column",
        "alter-field-not-null": f"set-not-null-scan {NEW_TYPE}",  # it says so of a type, too
        "missing-atomic-false": "concurrently-in-transaction",
        "non-concurrent-add-constraint":
            "check-scan foreign-key-scan foreign-key-lock exclusion-scan validate-with-lock",
        "non-concurrent-add-index": "index-not-concurrent",
        "non-concurrent-remove-index": "drop-index",
        "remove-field-without-separate": COLUMN_GONE,
        "rename-field": "rename-column",
        "runsql-create-index": "index-not-concurrent",
        "table-rename-or-drop": TABLE_GONE,
        "unique-constraint-without-index": "unique-scan primary-key-scan",
    }.items()},
    "alembic-migration-linter": {rule: words.split() for rule, words in {
        "ADD_UNIQUE": "unique-scan",
        "ALTER_COLUMN": NEW_TYPE,
        "CREATE_INDEX": "index-not-concurrent",
        "CREATE_INDEX_EXCLUSIVE": "index-not-concurrent",
        "DROP_COLUMN": COLUMN_GONE,
        "DROP_INDEX": "drop-index",
        "DROP_TABLE": "drop-table swap-table",
        # Of an added column it says what old code leaves out, of one that is there the same.
        "NOT_NULL": "add-not-null-column set-not-null-scan drop-default-of-new-column",
        "REINDEX": "reindex",
        "RENAME_COLUMN": "rename-column",
        "RENAME_TABLE": "rename-table swap-table",
    }.items()},
}  # fmt: skip


@dataclass
class Marks:
    """How a tool did: names of the corpus' revisions."""

    right: set[str] = field(default_factory=set)
    wrong: set[str] = field(default_factory=set)
    """Hazards about which it said something else."""
    missed: set[str] = field(default_factory=set)
    false: set[str] = field(default_factory=set)
    """Safe forms that it warns of."""
    unknown: set[str] = field(default_factory=set)
    """Rules that are not in the table above."""


def marks(
    tool: str,
    expected: Mapping[str, Collection[str]],
    said: Mapping[str, Collection[str]],
    style: Collection[str] = (),
) -> Marks:
    """`expected`: our rules by revision, none for a safe form; `said`: the tool's, likewise.
    Rules of `style` count as nothing said."""
    known, found = HAZARDS[tool], Marks()
    for name, hazards in expected.items():
        rules = set(said.get(name, ())) - set(style)
        found.unknown |= rules - set(known)
        named = {hazard for rule in rules for hazard in known.get(rule, ())}
        if not hazards:
            found.false |= {name} if rules else set()
        elif named & set(hazards):
            found.right.add(name)
        else:
            (found.wrong if rules else found.missed).add(name)
    return found
