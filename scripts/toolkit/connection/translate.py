"""A URL as the driver takes it: libpq's words in asyncpg's, and what is not understood.

What hosting providers write is read by templates/database_url.py itself: a URL that works in the
application works here. What plain create_async_engine would refuse is said, with what to write
instead.
"""

import importlib.util
import inspect
import os
import re
import ssl
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.connection.steps import Layer, stop
from toolkit.database.urls import Kind

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
TEMPLATE = Path(__file__).resolve().parents[3] / "templates" / "database_url.py"
# Read by the template only; `options` and sslmode are read here as well, for the checks of TLS.
HOSTED = (
    *("sslcert", "sslkey", "sslpassword", "sslnegotiation", "sslcompression", "sslsni"),
    *("gssencmode", "client_encoding", "pgbouncer", "fallback_application_name"),
    *("keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count"),
    "tcp_user_timeout",
)
MYSQL_MODES = {
    **dict.fromkeys(("DISABLED", "PREFERRED", "DISABLE"), "disable"),
    **{"VERIFY_CA": "verify-ca", "VERIFY_IDENTITY": "verify-full"},
}
MYSQL_TLS = ("ssl_ca", "ssl_capath", "ssl_cert", "ssl_key", "ssl_cipher", "ssl_check_hostname")


@dataclass(frozen=True)
class Tls:
    """What the client demands."""

    mode: str = "prefer"
    """libpq's word; for MySQL `disable` (no TLS), `verify-ca` or `verify-full`."""
    root: str | None = None
    """File with certificates that are trusted, `system` for this machine's."""
    context: ssl.SSLContext | None = None
    """The driver's own, where the application made it."""

    @property
    def demanded(self) -> bool:
        return self.mode in SSL_MODES[3:]

    @property
    def verified(self) -> bool:
        return self.mode in SSL_MODES[4:]


@dataclass(frozen=True)
class Translated:
    """For `create_async_engine(url, connect_args=arguments)`."""

    url: "URL"
    arguments: dict[str, Any] = field(default_factory=dict)
    tls: Tls = Tls()
    refused: tuple[str, ...] = ()
    """Parameters that plain create_async_engine refuses in this URL."""
    cure: str = ""


@cache
def template() -> Any:  # noqa: ANN401 - a module
    """templates/database_url.py, which is no part of a package here."""
    spec = importlib.util.spec_from_file_location("database_url_template", TEMPLATE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def of_template(url: "URL") -> tuple["URL", dict[str, Any]]:
    """What the application's normalize_url makes of it. Raises Broken where that refuses."""
    try:
        url, arguments = template().normalize_url(url)
    except template().ConfigurationError as error:
        stop(Layer.URL, f"{error}.", "Correct it in the URL, or take it out.")
    return url, arguments


def translate(url: "URL", kind: Kind, connect_args: dict[str, Any]) -> Translated:
    """Raises Broken for a parameter that no translation makes right."""
    driver = url.get_driver_name()
    if driver == "asyncpg":
        return for_asyncpg(url, connect_args)
    if kind == "postgresql":
        mode = str(url.query.get("sslmode", os.environ.get("PGSSLMODE", "prefer")))
        return Translated(url, tls=Tls(known_mode(mode), root_of(url.query.get("sslrootcert"))))
    if kind == "mysql":
        return for_mysql(url, connect_args)
    return Translated(url)


def for_asyncpg(url: "URL", connect_args: dict[str, Any]) -> Translated:
    query = {name: v if isinstance(v, str) else v[-1] for name, v in url.query.items()}
    hosts: dict[str, Any] = {name: url.query[name] for name in ("host", "port") if name in query}
    for name in hosts:
        del query[name]
    url = url.set(
        username=query.pop("user", url.username), password=query.pop("password", url.password)
    )
    arguments: dict[str, Any] = {}
    refused = [name for name in query if name in LIBPQ_ONLY or name in NUMBERS]
    settings = server_settings(query.get("options", ""))
    if "options" in query:  # also words for the proxy of a hosting provider
        of_options = of_template(url.set(query={"options": query.pop("options")}))[1]
        settings = of_options.get("server_settings", settings)
    if "application_name" in query:
        settings["application_name"] = query.pop("application_name")
    if settings:
        arguments["server_settings"] = settings
    query.pop("channel_binding", None)
    if "connect_timeout" in query:
        # libpq: 0 waits for ever.
        arguments["timeout"] = number("connect_timeout", query.pop("connect_timeout")) or None
    mode, root = query.pop("sslmode", query.pop("ssl", "")), query.pop("sslrootcert", None)
    tls = asyncpg_tls(mode, root, arguments, connect_args)
    for name in NUMBERS:
        if name in query:
            value = number(name, query.pop(name))
            arguments[name] = value if name.endswith("timeout") else int(value)
    if hosted := {name: query.pop(name) for name in HOSTED if name in query}:
        refused += hosted
        more = {"sslmode": mode, "sslrootcert": root or ""} if "sslcert" in hosted else {}
        arguments |= of_template(url.set(query={**hosted, **more}))[1]
    refuse_unknown(query)
    cure = (
        "drop them from the URL and pass connect_args="
        + describe({**arguments, **({"ssl": mode} if mode else {})})
        + ", or let database_url.py's normalize_url do it"
    )
    return Translated(url.set(query={**query, **hosts}), arguments, tls, tuple(refused), cure)


LIBPQ_ONLY = (
    *("sslmode", "sslrootcert", "options", "application_name", "connect_timeout"),
    "channel_binding",
)
NUMBERS = ("command_timeout", "statement_cache_size", "timeout")


def asyncpg_tls(
    mode: str, root: str | None, arguments: dict[str, Any], connect_args: dict[str, Any]
) -> Tls:
    given = connect_args.get("ssl")
    if isinstance(given, bool):
        given = "require" if given else "disable"
    if not mode and given is None:
        return Tls(known_mode(os.environ.get("PGSSLMODE", "prefer")), root_of(None))
    mode = known_mode(mode or str(given))
    if root and mode in SSL_MODES[3:]:
        try:
            context = ssl.create_default_context(cafile=None if root == "system" else root)
        except OSError as error:
            stop(
                Layer.URL,
                f"sslrootcert cannot be read: {error.strerror or type(error).__name__}.",
                "Name the file with the certificate of the authority that signed the server's.",
            )
        context.check_hostname = mode == "verify-full"
        arguments["ssl"] = context
        # A root makes `require` verify, in libpq too.
        return Tls("verify-ca" if mode == "require" else mode, root)
    arguments["ssl"] = mode
    return Tls(mode, root_of(root))


def for_mysql(url: "URL", connect_args: dict[str, Any]) -> Translated:
    query = {name: v if isinstance(v, str) else v[-1] for name, v in url.query.items()}
    if query.get("charset", "utf8") in ("utf8", "utf8mb3"):
        query["charset"] = "utf8mb4"  # MySQL's "utf8" cannot store an emoji
    if hosted := [name for name in query if name.startswith("ssl") and name not in MYSQL_TLS]:
        return hosted_mysql(url, hosted)
    given = {name: query.pop(name) for name in MYSQL_TLS if name in query}
    if not given:
        return Translated(url.set(query=query), tls=Tls("prefer" if connect_args else "disable"))
    root = given.get("ssl_ca")
    try:
        context = ssl.create_default_context(cafile=root, capath=given.get("ssl_capath"))
        if "ssl_cert" in given:
            context.load_cert_chain(given["ssl_cert"], given.get("ssl_key"))
    except OSError as error:
        stop(
            Layer.URL,
            f"A file of the URL's ssl_ parameters cannot be read: {error.strerror or 'not PEM'}.",
            "Name the file with the certificate of the authority that signed the server's.",
        )
    names = given.get("ssl_check_hostname", "true").lower() in ("true", "1", "yes")
    context.check_hostname = names
    return Translated(
        url.set(query=query),
        {"ssl": context},
        Tls("verify-full" if names else "verify-ca", root, context),
        tuple(given),
        'drop them and pass connect_args={"ssl": ssl.create_default_context(cafile=...)}',
    )


def hosted_mysql(url: "URL", hosted: list[str]) -> Translated:
    """With `ssl-mode` and its like, MySQL's own words, which no async driver takes."""
    said = next((str(url.query[name]) for name in hosted if name[4:] == "mode"), "REQUIRED")
    cleaned, arguments = of_template(url)
    mode = MYSQL_MODES.get(said.upper().replace("-", "_"), "require")
    root = next((str(v) for name, v in url.query.items() if name in ("ssl-ca", "ssl_ca")), None)
    return Translated(
        cleaned,
        arguments,
        Tls(mode, root, arguments.get("ssl")),
        tuple(hosted),
        "drop them and pass connect_args=normalize_url(url)[1] of database_url.py",
    )


def known_mode(mode: str) -> str:
    if mode not in SSL_MODES:
        stop(
            Layer.URL,
            f"sslmode is {mode!r}, which does not exist.",
            f"Write one of {', '.join(SSL_MODES)}.",
        )
    return mode


def root_of(given: Any) -> str | None:  # noqa: ANN401
    """The file of trusted certificates that libpq and asyncpg look for."""
    if given:
        return str(given)
    if os.environ.get("PGSSLROOTCERT"):
        return os.environ["PGSSLROOTCERT"]
    usual = Path.home() / ".postgresql" / "root.crt"
    return str(usual) if usual.is_file() else None


def server_settings(options: str) -> dict[str, str]:
    r"""`-c name=value --other-name=value`, a space in a value written `\ `, as libpq reads it."""
    settings = {}
    for word in re.findall(r"(?:-c\s*|--)((?:\\.|[^\s\\])+)", options):
        name, equals, value = re.sub(r"\\(.)", r"\1", word).partition("=")
        if not equals:
            stop(
                Layer.URL,
                "The URL's `options` is not `-c name=value ...`.",
                "Write options=-c%20statement_timeout%3D30000, for example.",
            )
        settings[name.replace("-", "_")] = value
    return settings


def number(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        stop(Layer.URL, f"{name} is {text!r}, not a number.", f"Write {name}=10, for example.")


def refuse_unknown(query: dict[str, str]) -> None:
    """Raise Broken for a parameter that asyncpg would refuse with a TypeError."""
    import asyncpg  # type: ignore[import-untyped]  # noqa: PLC0415  (only where it is named)

    known = {*inspect.signature(asyncpg.connect).parameters}
    known |= {"prepared_statement_cache_size", "prepared_statement_name_func", "async_fallback"}
    unknown = [name for name in query if name not in known]
    if unknown:
        stop(
            Layer.URL,
            f"asyncpg does not know the URL's parameter {', '.join(unknown)}.",
            "Take it out of the URL, or correct its spelling.",
        )


def describe(arguments: dict[str, Any]) -> str:
    shown = {
        name: "..." if isinstance(value, ssl.SSLContext) else value
        for name, value in arguments.items()
    }
    return repr(shown)
