"""Which database the layers below the application look at."""

import argparse
import os
from collections import Counter

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from toolkit.database.scratch import require_driver, usable_driver
from toolkit.database.urls import kind_of
from toolkit.migration.command import take_url
from toolkit.migration.refusal import Refusal
from toolkit.queries.capture.record import Capture
from toolkit.report.exits import Exit

URL_VARIABLE = "OPTIMIZE_DATABASE_URL"


def asked_for(options: argparse.Namespace) -> URL | None:
    """The database that the command line names, if it does. Raises Refusal."""
    named = options.url_env
    if options.url:
        take_url(options.url, "--url", URL_VARIABLE)
        named = URL_VARIABLE
    return None if named is None else read_url(named)


def read_url(variable: str) -> URL:
    """The URL in an environment variable, with an installed driver. Raises Refusal."""
    text = os.environ.get(variable)
    if not text:
        raise refused(f"The environment variable {variable} is not set.")
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise refused(f"{variable} holds no URL of a database.") from None
    found = with_driver(url)
    if found is None:
        raise refused(f"{variable} is about {url.drivername}, which is none of ours.")
    return found


def refused(message: str) -> Refusal:
    return Refusal(
        "url", Exit.URL, message, "Set it to postgresql://..., mysql://... or sqlite:///FILE."
    )


def with_driver(url: URL) -> URL | None:
    kind = kind_of(url.drivername)
    if kind is None:
        return None
    require_driver(kind)
    if kind == "postgresql" and "sslmode" in url.query and "asyncpg" in usable_driver(kind, url):
        # asyncpg has libpq's values under another name.
        url = url.update_query_dict({"ssl": url.query["sslmode"]}).difference_update_query(
            ["sslmode", "channel_binding"]
        )
    return url.set(drivername=usable_driver(kind, url))


def used_most(capture: Capture) -> URL | None:
    """The database with the most statements. One in memory is gone with the run."""
    counts = Counter(one.engine for one in capture.statements)
    engines = {engine.number: engine for engine in capture.engines}
    for number, _ in counts.most_common():
        engine = engines.get(number)
        url = with_driver(make_url(engine.url)) if engine else None
        if url is not None and not in_memory(url):
            return url
    return None


def in_memory(url: URL) -> bool:
    database = url.database or ""
    return kind_of(url.drivername) == "sqlite" and (
        database in {"", ":memory:"} or "mode=memory" in database or "mode" in url.query
    )
