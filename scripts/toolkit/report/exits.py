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
    URL = 20, "the database's URL is missing or cannot be used as it is written"
    NAME = 21, "the host's name has no address"
    NETWORK = 22, "nothing answers at the address and port, or not in time"
    TLS = 23, "client and server do not agree on TLS, or the certificate is bad"
    LOGIN = 24, "the server refuses this user or password"
    DATABASE = 25, "there is no such database, or the file is none"
    SERVER = 26, "the server's state or a setting of it is wrong for an application"
    PRIVILEGE = 27, "the role lacks a right"
    POOLER = 28, "a pooler is in between, and the driver is not set for it"
    CAPACITY = 29, "connections do not suffice, or are not given back"
    REVISION = 30, "the database is not at the head of the migrations"
    FINDINGS = 31, "queries were found that want to be changed"
    RUN_FAILED = 32, "the command or the requests to watch did not run"
    OVER_BUDGET = 33, "a route issues more statements than its budget"
    NOTHING_SEEN = 34, "it ran, and not one statement was seen"
    NO_RIGHT = 40, "this user may not read or write a file there"
    READ_ONLY = 41, "the file system is read-only"
    DISK_FULL = 42, "the disk is full, or a quota is used up"
    BUSY = 43, "a file or another run is in the way; run it again"
    TOO_MANY = 44, "too many open files or processes"
    NO_TEMPORARY = 45, "there is no folder for temporary files"
    SERVER_GONE = 46, "the server ended, or cut the connection, in the middle"
    NOT_RESTORED = 47, "files could not be put back; the message says where each part lies"
    OUTSIDE = 48, "a link leads out of the project (see --follow-links)"
    INTERRUPTED = 130, "interrupted"
    OUTPUT_CLOSED = 141, "the output was closed before its end"


def exit_code_table() -> str:
    """The codes as indented lines of text, for `--help`."""
    return "\n".join(f"  {code.value:>3}  {code.meaning}" for code in Exit)
