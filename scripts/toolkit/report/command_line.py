"""A password on the command line is refused before anything else: every user of the machine
can read it in the list of processes, and the shell keeps it in its history.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from urllib.parse import parse_qsl, unquote

from toolkit.report.masking import NAME

VARIABLES: Mapping[str, str] = {
    "--scratch-url": "the environment variable SCRATCH_DATABASE_URL",
    "--stats-url": "the environment variable STATS_DATABASE_URL",
}
ADDRESSES = ("--url", "--url-env", "--url-from", "--connect-arg", *VARIABLES)
"""Options whose value says where a database is, in one of the forms that drivers accept."""
WITH_URL_ENV = ("test-connection.sh", "optimize-queries.sh")
OWN_COMMAND = "--run"
"""Its value is the user's command: what it gives its program is masked, and not refused."""
VARIABLE = re.compile(r"[A-Za-z_]\w*")
KEY = re.compile(rf"{NAME}['\"]?\s*[=:]\s*['\"]?[^\s'\"]")
SCHEME = re.compile(r"[\w+]+://")
LOGIN = re.compile(r"[^\s:/@?#]*:.+@")


def refused(door: str, arguments: Sequence[str]) -> str | None:
    """One line for a command line that holds a password; it repeats nothing of it."""
    for option, value in values_of(arguments):
        if option == OWN_COMMAND:
            continue
        is_address = option in ADDRESSES or SCHEME.match(value) is not None
        # Only where an address is meant, it may have raw blanks.
        words = [value] if is_address else value.split()
        if any(map(holds_password, words)) or (option in ADDRESSES and is_login(value)):
            named = "--url-env NAME" if door in WITH_URL_ENV else "--url-from env:NAME"
            place = VARIABLES.get(option, f"a variable and name that, {named}")
            return (
                f"{door}: {option or 'an argument'} holds a password, which every user of this"
                f" machine can read: put the URL into {place}."
            )
        if option == "--url-env" and not VARIABLE.fullmatch(value):
            return (
                f"{door}: --url-env NAME takes the name of an environment variable, and was given"
                " something else (not repeated here: it may be an address)."
            )
    return None


def values_of(arguments: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Each argument with the option that it belongs to, or an empty text."""
    before = ""
    for argument in arguments:
        option, equals, value = argument.partition("=")
        is_option = argument.startswith("--")
        if not is_option:
            yield before, argument
        elif equals:
            yield option, value
        before = argument if is_option and not equals else ""


def holds_password(text: str) -> bool:
    """Is there a URL in it with a password, before the host or among its parameters?"""
    _, found, body = text.partition("://")
    if not found:
        return False
    before_query, _, query = body.partition("?")
    # sqlite:///a:b@c is a path.
    if not body.startswith("/") and LOGIN.match(unquote_marks(body)):
        return True
    pairs = parse_qsl(query.replace(";", "&")) + parse_qsl(before_query)
    return any(re.search(rf"{NAME}\Z", unquote(key)) for key, _ in pairs)


def unquote_marks(body: str) -> str:
    """Without what belongs to the parameters, unless an @ behind it shows that it does not."""
    before_query, mark, query = body.partition("?")
    return f"{before_query}{mark}{query}" if "@" in query and "=" not in query else before_query


def is_login(text: str) -> bool:
    """`password=x`, a DSN, a mapping with a password, or `user:password@host`."""
    return bool(KEY.search(text)) or ("://" not in text and LOGIN.match(text) is not None)
