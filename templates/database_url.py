"""A database URL as an async driver takes it. Copy this file beside `session_manager.py`.

Hosting providers hand out URLs for other programs (libpq, MySQL's client, Prisma). This turns
their parameters into arguments of asyncpg or aiomysql, and refuses in one line what has no
counterpart: a parameter that nobody reads would be a promise that nobody keeps. It costs some
microseconds, once a process. It needs SQLAlchemy only, so a script can use it alone:

```python
from sqlalchemy.ext.asyncio import create_async_engine

from .database_url import normalize_url

url, connect_args = normalize_url("postgres://me:secret@db.example/shop?sslmode=require")
engine = create_async_engine(url, connect_args=connect_args)
```
"""

import logging
import re
import ssl
from typing import Any, TypeVar

from sqlalchemy import make_url
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError

logger = logging.getLogger(__name__)
N = TypeVar("N", int, float)

ASYNC_DRIVERS = {
    **dict.fromkeys(("postgres", "postgresql", "postgresql+psycopg2"), "postgresql+asyncpg"),
    **dict.fromkeys(("mysql", "mysql+pymysql", "mysql+mysqldb"), "mysql+aiomysql"),
    **dict.fromkeys(("mariadb", "mariadb+pymysql", "mariadb+mysqldb"), "mariadb+aiomysql"),
    **dict.fromkeys(("sqlite", "sqlite+pysqlite"), "sqlite+aiosqlite"),
}
SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
MYSQL_SSL_MODES = ("DISABLED", "PREFERRED", "REQUIRED", "VERIFY_CA", "VERIFY_IDENTITY")
QUOTE_IT = "quote its user name and password with urllib.parse.quote(value, safe='')"

# What the drivers read themselves.
ASYNCPG_ITSELF = {"host", "port", "passfile", "service", "servicefile", "krbsrvname", "gsslib"}
ASYNCPG_ITSELF |= {"target_session_attrs"}
AIOMYSQL_ITSELF = {"charset", "connect_timeout", "unix_socket", "sql_mode", "init_command"}
AIOMYSQL_ITSELF |= {"program_name", "read_default_file", "read_default_group", "client_flag"}
AIOMYSQL_ITSELF |= {"local_infile", "auth_plugin", "use_unicode"}
# What changes nothing for an async driver. The session layer sets keep-alive itself.
NO_EFFECT = {"keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count"}
NO_EFFECT |= {"tcp_user_timeout", "sslcompression", "sslsni", "fallback_application_name"}


class ConfigurationError(ValueError):
    """A setting is missing or wrong. One line, and never a password."""


def normalize_url(url: str | URL) -> tuple[URL, dict[str, Any]]:
    """The URL with its async driver, and the `connect_args` for `create_async_engine`.

    An async driver in the URL is kept; an in-memory SQLite becomes one that the connections of a
    process share. Raises ConfigurationError; its text never has the password.
    """
    parsed = url if isinstance(url, URL) else _parse(str(url).strip())
    parsed = parsed.set(drivername=ASYNC_DRIVERS.get(parsed.drivername, parsed.drivername))
    if parsed.drivername == "postgresql+asyncpg":
        return _for_asyncpg(parsed)
    if parsed.drivername.endswith(("+aiomysql", "+asyncmy")):
        return _for_mysql(parsed)
    if parsed.drivername == "sqlite+aiosqlite" and parsed.database in (None, "", ":memory:"):
        # `:memory:` is one connection, on which all sessions would share one transaction. With
        # SQLite's memdb they have their own, and wait for each other as on a file.
        parsed = parsed.set(database="file:/memory", query={"vfs": "memdb", "uri": "true"})
    return parsed, {}


def _parse(url: str) -> URL:
    # An @ in a password would make the rest of it the host: sent to the resolver, shown in errors.
    if url.count("@") > 1 and not url.startswith("sqlite"):
        raise ConfigurationError(f"the database URL has more than one '@': {QUOTE_IT}")
    # `host1:5432,host2:5432` is libpq's; SQLAlchemy has them among the parameters.
    several = re.match(r"(postgres[^:]*://(?:[^@/]*@)?)([^/?@]*,[^/?@]*)(.*)", url, re.DOTALL)
    if several:
        url = several[1] + several[3]
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        # `from None`: the original may quote a part of the password.
        raise ConfigurationError(
            f"the database URL is not driver://user:password@host:port/database; {QUOTE_IT}"
        ) from None
    if "\ufffd" in f"{parsed.username}{parsed.password}":
        raise ConfigurationError(f"the database URL has a '%' that quotes nothing: {QUOTE_IT}")
    if several:
        hosts = tuple(
            host if re.search(r":\d+$", host) else f"{host}:5432" for host in several[2].split(",")
        )
        parsed = parsed.update_query_dict({"host": hosts})
    return parsed


def _for_asyncpg(url: URL) -> tuple[URL, dict[str, Any]]:
    query = {name: v if isinstance(v, str) else v[-1] for name, v in url.query.items()}
    # A password among the parameters would be shown by the URL's repr.
    url = url.set(
        username=query.pop("user", url.username),
        password=query.pop("password", url.password),
        database=query.pop("dbname", url.database),
    )
    arguments: dict[str, Any] = {}
    if settings := _server_settings(query):
        arguments["server_settings"] = settings
    if query.pop("channel_binding", "") == "require":
        # Hosted databases put it into every URL; to refuse it would refuse them all.
        logger.warning("asyncpg has no channel binding; sslmode=verify-full is its substitute")
    if "connect_timeout" in query:
        # libpq: 0 waits for ever.
        arguments["timeout"] = number("connect_timeout", query.pop("connect_timeout"), 0.0) or None
    for name in ("timeout", "command_timeout"):
        if name in query:
            arguments[name] = number(name, query.pop(name), 0.0)
    if (context := _libpq_ssl(query)) is not None:
        arguments["ssl"] = context
    if query.pop("sslnegotiation", "postgres") == "direct":
        arguments["direct_tls"] = True
    if query.pop("gssencmode", "prefer") == "require":
        raise ConfigurationError("gssencmode=require: asyncpg cannot encrypt by GSSAPI; use TLS")
    encoding = query.pop("client_encoding", "auto")
    if encoding.lower().replace("-", "") not in ("auto", "utf8", "unicode"):
        raise ConfigurationError(f"client_encoding={encoding}: asyncpg always speaks UTF8")
    if _flag(query, "pgbouncer"):
        arguments |= {"statement_cache_size": 0, "prepared_statement_cache_size": 0}
    for name in ("statement_cache_size", "prepared_statement_cache_size"):
        if name in query:
            arguments[name] = number(name, query.pop(name), 0)
    kept = _known(query, ASYNCPG_ITSELF, "asyncpg")
    return url.set(query={name: url.query[name] for name in kept}), arguments


def _for_mysql(url: URL) -> tuple[URL, dict[str, Any]]:
    query = {name: v if isinstance(v, str) else v[-1] for name, v in url.query.items()}
    # MySQL's "utf8" cannot store an emoji.
    if query.get("charset", "utf8") in ("utf8", "utf8mb3"):
        query["charset"] = "utf8mb4"
    # `ssl-mode` is the client's word, `ssl_mode` that of some hosting providers.
    tls = {name.replace("-", "_"): query.pop(name) for name in [*query] if name[:3] == "ssl"}
    context = _mysql_ssl(tls)
    kept = _known(query, AIOMYSQL_ITSELF, url.get_driver_name())
    return url.set(query={name: query[name] for name in kept}), {"ssl": context} if context else {}


def _mysql_ssl(tls: dict[str, str]) -> ssl.SSLContext | None:
    mode = (tls.pop("ssl_mode", "") or tls.pop("sslmode", "")).upper().replace("-", "_")
    mode = {"REQUIRE": "REQUIRED", "DISABLE": "DISABLED", "VERIFY_FULL": MYSQL_SSL_MODES[4]}.get(
        mode, mode
    )
    if mode and mode not in MYSQL_SSL_MODES:
        raise ConfigurationError(f"ssl-mode must be one of {', '.join(MYSQL_SSL_MODES)}")
    if tls.pop("sslaccept", "") == "strict" or (not mode and "ssl_ca" in tls):
        mode = "VERIFY_IDENTITY"
    wanted = tls.pop("ssl", "").lower() in ("true", "1")
    names = tls.pop("ssl_check_hostname", "true" if mode != "VERIFY_CA" else "false")
    files = [tls.pop(name, "") for name in ("ssl_ca", "ssl_cert", "ssl_key")]
    if tls:
        raise ConfigurationError(_unknown(sorted(tls), "aiomysql"))
    if mode in ("DISABLED", "PREFERRED") or not (mode or wanted or files[1]):
        return None
    context = _context(files[0], files[1], files[2], "", ("ssl-ca", "ssl-cert or ssl-key"))
    verified = mode.startswith("VERIFY")
    context.check_hostname = verified and names.lower() in ("true", "1", "yes")
    if not verified:
        context.verify_mode = ssl.CERT_NONE
    return context


def _libpq_ssl(query: dict[str, str]) -> str | ssl.SSLContext | None:
    """libpq's word, which asyncpg takes; with a certificate, a context that has it."""
    mode, root = query.pop("sslmode", query.pop("ssl", "")), query.pop("sslrootcert", "")
    mode = {"true": "require", "false": "disable"}.get(mode.lower(), mode)
    own, key, password = (query.pop(name, "") for name in ("sslcert", "sslkey", "sslpassword"))
    if mode and mode not in SSL_MODES:
        raise ConfigurationError(f"sslmode must be one of {', '.join(SSL_MODES)}, not {mode!r}")
    if mode in ("disable", "allow", "prefer") or not (root or own):
        return mode or None
    context = _context("" if root == "system" else root, own, key, password)
    context.check_hostname = mode == "verify-full"
    if not root and not mode.startswith("verify"):
        context.verify_mode = ssl.CERT_NONE  # as libpq, where no root certificate is named
    return context


def _context(
    root: str,
    certificate: str,
    key: str,
    password: str,
    names: tuple[str, str] = ("sslrootcert", "sslcert or sslkey"),
) -> ssl.SSLContext:
    asked = names[0]
    try:
        context = ssl.create_default_context(cafile=root or None)
        asked = names[1]
        if certificate:
            # With a callable, OpenSSL never asks on the terminal.
            context.load_cert_chain(certificate, key or None, lambda: password)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise ConfigurationError(f"{asked} cannot be read: {reason}") from None
    return context


def _server_settings(query: dict[str, str]) -> dict[str, str]:
    r"""`-c name=value --other-name=value`, a space in a value written `\ `, as libpq reads it.

    A word without a dash (`endpoint=...` of some hosting providers) is for the proxy in front.
    """
    settings: dict[str, str] = {}
    options = re.sub(r"-c\s+", "-c", query.pop("options", ""))
    for word in re.findall(r"(?:\\.|[^\s\\])+", options):
        name, equals, value = re.sub(r"\\(.)", r"\1", word).partition("=")
        if not equals:
            raise ConfigurationError("`options` in the database URL is not `-c name=value ...`")
        if name.startswith(("-c", "--")):
            settings[name[2:].replace("-", "_")] = value
        else:
            settings["options"] = f"{settings.get('options', '')} {word}".strip()
    if "application_name" in query:
        settings["application_name"] = query.pop("application_name")
    return settings


def _flag(query: dict[str, str], name: str) -> bool:
    return query.pop(name, "false").lower() in ("true", "1", "yes", "on")


def _known(query: dict[str, str], read_by_driver: set[str], driver: str) -> list[str]:
    if unknown := sorted(query.keys() - read_by_driver - NO_EFFECT):
        raise ConfigurationError(_unknown(unknown, driver))
    return [name for name in query if name in read_by_driver]


def _unknown(names: list[str], driver: str) -> str:
    return f"the database URL has {', '.join(names)}, which {driver} does not know: take it out"


def number(name: str, value: str, kind_of: N) -> N:
    """The setting `name` as a number; ConfigurationError if its text is none."""
    try:
        return type(kind_of)(value)
    except ValueError:
        kind = "a whole number" if isinstance(kind_of, int) else "a number"
        raise ConfigurationError(f"{name} must be {kind}, not {value!r}") from None
