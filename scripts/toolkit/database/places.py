"""Which server a proof may run on, and by which signs one is production."""

import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

from sqlalchemy.engine import URL

from toolkit.database.urls import Kind
from toolkit.files.reading import text_of

PORTS: Mapping[Kind, int] = {"postgresql": 5432, "mysql": 3306, "sqlite": 0}
LOOPBACK = re.compile(r"localhost|127(\.\d+){3}|::1|\[::1\]", re.IGNORECASE)
# As a word of a name; a path (VIRTUAL_ENV) is none.
PRODUCTION = re.compile(
    r"(?:[\w.-]*[_.-])?(?:prod|production|live)(?:[_.-][\w.-]*)?", re.IGNORECASE
)
STAGE = re.compile(r"(?:.*_)?(?:env|environment|stage|tier)", re.IGNORECASE)
ASSIGNMENT = re.compile(r"^\s*(?:export\s+)?(\w+)\s*=\s*[\"']?([^\"'#\n]*)", re.MULTILINE)
PACKAGES: Mapping[str, Mapping[Kind, str]] = {
    "apt-get": {"postgresql": "postgresql", "mysql": "mariadb-server"},
    "dnf": {"postgresql": "postgresql-server", "mysql": "mariadb-server"},
    "brew": {"postgresql": "postgresql", "mysql": "mariadb"},
}
NAMES: Mapping[Kind, str] = {"postgresql": "postgresql", "mysql": "mariadb"}


def server_name(url: URL, kind: Kind) -> str:
    """`host:port`, or a socket's path: what is printed, and what --scratch-on takes."""
    if path := socket_of(url):
        return path
    return f"{host_of(url)}:{url.port or PORTS[kind]}"


def host_of(url: URL) -> str:
    """The first, where there are several."""
    asked = url.query.get("host", ())
    others = (asked,) if isinstance(asked, str) else asked
    return next(iter(others), "") or url.host or "localhost"


def socket_of(url: URL) -> str | None:
    for name in ("unix_socket", "host"):
        value = url.query.get(name)
        if isinstance(value, str) and value.startswith("/"):
            return value
    return None


def as_drivers_read(url: URL) -> URL | None:
    """With host and port as PostgreSQL's drivers take them from the environment.

    None where that says the address in a way that goes before the URL's own: what is judged has
    to be what is connected to (#11).
    """
    if os.environ.get("PGHOSTADDR") or os.environ.get("PGSERVICE"):
        return None
    host, port = os.environ.get("PGHOST", ""), os.environ.get("PGPORT", "")
    if host and not url.host and not url.query.get("host"):
        several = tuple(host.split(",")) if "," in host else host
        if several == host and not host.startswith("/"):
            url = url.set(host=host)
        else:
            url = url.update_query_dict({"host": several})
    if port.isdecimal() and not url.port and not url.query.get("port"):
        url = url.set(port=int(port))
    return url


def is_local(url: URL) -> bool:
    """On this machine, by its loopback or a socket."""
    if url.query.get("hostaddr") or isinstance(url.query.get("host"), tuple):
        return False
    return bool(socket_of(url)) or LOOPBACK.fullmatch(host_of(url)) is not None


def is_named(url: URL, kind: Kind, allowed: str) -> bool:
    """Does `allowed` (`host`, `host:port`, a socket's path) name this server?"""
    name = server_name(url, kind)
    return allowed in {name, name.removesuffix(f":{PORTS[kind]}")}


def signs_here(url: URL, root: Path | None) -> list[str]:
    """What tells of production without a look at the server."""
    found = [
        f"the {what} is called {value}"
        for what, value in (("database", url.database), ("role", url.username))
        if value and PRODUCTION.fullmatch(value)
    ]
    variables = dict(os.environ)
    for name, value in ASSIGNMENT.findall(text_of(root / ".env") if root else ""):
        variables.setdefault(name, value.strip())
    found += [
        f"{name} is {value}"
        for name, value in sorted(variables.items())
        if STAGE.fullmatch(name) and PRODUCTION.fullmatch(value)
    ]
    return found


def install_line(kind: Kind) -> str:
    """The command that puts a server's programs on this machine."""
    manager = next((name for name in PACKAGES if shutil.which(name)), None)
    if manager is None:
        return f"Install {NAMES[kind]}'s server programs on this machine"
    sudo = "" if manager == "brew" or may_install() else "sudo "
    return f"{sudo}{manager} install {PACKAGES[manager][kind]}"


def may_install() -> bool:
    return os.geteuid() == 0
