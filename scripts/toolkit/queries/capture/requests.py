"""The file of requests to replay: one a line, headers that count from there on.

    # comments and empty lines
    Authorization: Bearer eyJh...
    GET /posts?limit=10
    POST /posts {"title": "x"}
    Authorization:
    GET /health

A header without a value is left out from there on. Cookies that an answer sets are sent
with the requests after it.
"""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from toolkit.queries.errors import bad_requests

_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_REQUEST = re.compile(r"([A-Za-z]+)\s+(\S+)(?:\s+(.*))?$")
_HEADER = re.compile(r"([A-Za-z0-9!#$%&'*+.^_`|~-]+):\s*(.*)$")
_EXAMPLE = 'a line is `GET /path`, `POST /path {"json": 1}`, `Header: value` or `# comment`'


@dataclass(frozen=True)
class Request:
    """One request. Headers and body may be secret."""

    method: str
    target: str
    """Path and query: `/posts?limit=10`."""
    headers: tuple[tuple[str, str], ...] = ()
    body: str = ""
    """JSON, or nothing."""
    line: int = 0


def read_requests(file: Path) -> tuple[Request, ...]:
    """The requests of `file`. Raises QueriesError for a line that is none, with its number."""
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise bad_requests(
            str(file), f"cannot be read: {why}", "Name a file of requests."
        ) from None
    return parse_requests(text.splitlines(), file.name)


def read_headers(file: Path) -> tuple[tuple[str, str], ...]:
    """Headers for every request, a line each; what signs in, mostly. Raises QueriesError."""
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise bad_requests(str(file), f"cannot be read: {why}", "Name a file of headers.") from None
    found: dict[str, tuple[str, str]] = {}
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        header = _HEADER.match(line)
        if header is None:
            raise bad_requests(
                f"{file.name}:{number}", "not a header", "There, a line is `Name: value`."
            )
        found[header[1].lower()] = (header[1], header[2])
    return tuple(found.values())


def with_headers(request: Request, headers: Sequence[tuple[str, str]]) -> Request:
    """`request` with headers that it does not have itself."""
    own = {name.lower() for name, _ in request.headers}
    more = tuple(pair for pair in headers if pair[0].lower() not in own)
    return replace(request, headers=(*more, *request.headers))


def parse_requests(lines: Iterable[str], name: str) -> tuple[Request, ...]:
    """The same from lines; `name` is said in errors."""
    found: list[Request] = []
    headers: dict[str, tuple[str, str]] = {}
    for number, raw in enumerate(lines, 1):
        line = raw.strip()
        place = f"{name}:{number}"
        if not line or line.startswith("#"):
            continue
        if header := _HEADER.match(line):
            headers.pop(header[1].lower(), None)
            if header[2]:
                headers[header[1].lower()] = (header[1], header[2])
        elif request := _REQUEST.match(line):
            found.append(_request(request, tuple(headers.values()), place, number))
        else:
            raise bad_requests(place, "neither a request nor a header", f"There, {_EXAMPLE}.")
    if not found:
        raise bad_requests(name, "no request in it", f"In it, {_EXAMPLE}.")
    return tuple(found)


def _request(
    found: "re.Match[str]", headers: tuple[tuple[str, str], ...], place: str, number: int
) -> Request:
    method, target, body = found[1].upper(), found[2], (found[3] or "").strip()
    if method not in _METHODS:
        raise bad_requests(place, "not a method", f"Use one of {', '.join(_METHODS)}.")
    if not target.startswith("/"):
        raise bad_requests(place, "the path does not begin with /", "Write `GET /path`.")
    if not (target.isascii() and target.isprintable()):
        raise bad_requests(place, "the path is not ASCII", "Write it percent-encoded.")
    if body:
        try:
            json.loads(body)
        except ValueError:
            raise bad_requests(
                place, "what follows the path is not JSON", f"There, {_EXAMPLE}."
            ) from None
        if not any(name.lower() == "content-type" for name, _ in headers):
            headers = (*headers, ("Content-Type", "application/json"))
    return Request(method, target, headers, body, number)
