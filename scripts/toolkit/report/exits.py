"""The exit codes that every door shares; `--help` prints this table."""

from enum import IntEnum


class Exit(IntEnum):
    """One number per kind of ending, so that a caller can tell them apart."""

    meaning: str

    def __new__(cls, value: int, meaning: str) -> "Exit":
        member = int.__new__(cls, value)
        member._value_ = value
        member.meaning = meaning
        return member

    OK = 0, "done, or nothing to do"
    INTERNAL = 1, "internal error (a bug: please report it)"
    USAGE = 2, "wrong command line"
    NO_PROJECT = 3, "no FastAPI project found here"
    AMBIGUOUS = 4, "several candidates; the message names the flag that settles it"
    BROKEN_PROJECT = 5, "the project's code does not import"
    MISSING_DEPENDENCY = 6, "a package is missing; the message has the install line"
    WOULD_OVERWRITE = 7, "a hand-written file would be overwritten (see --force)"
    PROOF_FAILED = 8, "the result does not work on a scratch database"
    MODELS_MISSING = 9, "mapped classes are missing from the metadata (would drop tables)"
    EMPTY_METADATA = 10, "the metadata has no tables"
    NO_CHANGES = 11, "models and migrations agree; there is nothing to generate"
    SEVERAL_HEADS = 12, "the migration history has several heads"
    NO_SCRATCH = 13, "no scratch database can be made"
    HAZARDS = 14, "the review found what would lose data, fail, block or break running code"
    DRIFT = 15, "models and migrations differ"
    RENAME = 16, "a drop and an add may be a rename; --rename or --no-rename settles it"
    NOT_POSSIBLE = 17, "the change has no zero-downtime form on this database"
    UNANSWERED = 18, "only a person knows; the message names --fill, --using or --back"
    INTERRUPTED = 130, "interrupted"


def exit_code_table() -> str:
    """The codes as indented lines of text, for `--help`."""
    return "\n".join(f"  {code.value:>3}  {code.meaning}" for code in Exit)
