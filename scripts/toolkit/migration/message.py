"""The text of a migration, on its way from the command line into a Python docstring."""

import unicodedata

from toolkit.migration.refusal import Refusal
from toolkit.report.exits import Exit
from toolkit.report.quoting import script

LONGEST = 500


def clean_message(message: str) -> str:
    """One line of printable text; raises Refusal for what cannot be one."""
    one_line = " ".join(message.split())
    if not one_line:
        again = f'{script("generate-migration.sh")} "add users"'
        raise usage("The message is empty.", f"Say what changes: {again}")
    if len(one_line) > LONGEST:
        raise usage(
            f"The message has {len(one_line)} characters; {LONGEST} is the limit.",
            "Keep the headline and write the rest into the file.",
        )
    # Cc, Cs: control characters and halves of characters (bytes that are not UTF-8).
    odd = sorted({f"U+{ord(c):04X}" for c in one_line if unicodedata.category(c) in {"Cc", "Cs"}})
    if odd:
        raise usage(
            f"The message holds characters that no file can show: {', '.join(odd)}.",
            "Write it in plain text (UTF-8).",
        )
    return one_line


def as_docstring(message: str) -> str:
    """`message` so that script.py.mako can put it between quotes of any kind."""
    return message.replace("\\", "\\\\").replace('"', '\\"')


def usage(message: str, remedy: str) -> Refusal:
    return Refusal("message", Exit.USAGE, message, remedy)
