"""Which layer is broken when the driver does not get a connection, and what to do."""

import re
import ssl
from collections.abc import Iterator

from toolkit.connection.address import Target
from toolkit.connection.steps import Layer, Status, Step
from toolkit.report.exits import Exit
from toolkit.report.quoting import identifier, literal

WHO_HAS_THEM = (
    "Close what holds them: SELECT usename, state, count(*) FROM pg_stat_activity GROUP BY 1, 2"
)

# PgBouncer gives most of its refusals one SQLSTATE, and libpq none at all: the server's words
# decide then. English ones; another language ends at "login", with its own words shown.
WORDS: tuple[tuple[str, str], ...] = (
    (r"unsupported startup parameter", "startup-parameter"),
    (r"no more connections allowed|too many clients|too many connections", "53300"),
    (r"remaining connection slots", "53300"),
    (r"no such database|database .* does not exist", "3D000"),
    (r"permission denied for database", "42501"),
    (r"server login (has been )?fail|pgbouncer cannot connect|server_login_retry", "pooler-down"),
    (r"query_wait_timeout|client_login_timeout", "pooler-down"),
    (r"password authentication failed|no such user|SASL|auth failed|no password supplied", "28P01"),
    (r"no pg_hba\.conf entry|pg_hba\.conf rejects|role .* does not exist", "28000"),
    (r"(Ident|Peer|GSSAPI|LDAP|PAM|RADIUS|certificate) authentication failed", "28000"),
    (r"not permitted to log in", "28000"),
    (r"starting up|shutting down|in recovery mode|not accepting connections", "57P03"),
    (r"server does not support SSL|rejected SSL upgrade", "tls-refused"),
    (r"certificate verify failed|root certificate file|root\.crt", "tls-certificate"),
    (r"unrecognized configuration parameter|invalid value for parameter", "22023"),
    (r"cryptography.* (is|package is) required", "cryptography"),
)
MYSQL = {
    1040: "53300",
    1203: "53300",
    1226: "53300",
    1044: "42501",
    1045: "28P01",
    1049: "3D000",
    1053: "57P03",
    1129: "host-blocked",
    1130: "host-not-allowed",
    1251: "plugin",
    2059: "plugin",
    1524: "plugin",
    1698: "28P01",
    1820: "password-expired",
    1862: "password-expired",
    3118: "account-locked",
    3159: "tls-required",
    4151: "account-locked",
}


def chain(error: BaseException) -> Iterator[BaseException]:
    """The error, what SQLAlchemy wrapped in it, and what it came from."""
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        one = waiting.pop(0)
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        waiting += [getattr(one, "orig", None), one.__cause__, one.__context__]


def words_of(error: BaseException) -> str:
    """The driver's own words, in one line, without the statement and SQLAlchemy's links."""
    innermost = next(
        (one for one in chain(error) if not type(one).__module__.startswith("sqlalchemy")), error
    )
    arguments = innermost.args
    text = str(innermost)
    if len(arguments) > 1 and isinstance(arguments[0], int):
        text = f"({arguments[0]}) {arguments[1]}"
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return f"{type(innermost).__name__}: {' '.join(lines) or 'no text'}"[:400]


def kind_of_failure(error: BaseException) -> str:
    """An SQLSTATE, or a word of this module; empty where nothing is known."""
    text = ""
    for one in chain(error):
        first = one.args[0] if one.args else None
        if isinstance(first, int) and first in MYSQL:
            return MYSQL[first]
        state = getattr(one, "sqlstate", None)
        if isinstance(state, str) and state not in ("08P01", "58000", "XX000"):
            return state
        if isinstance(one, ssl.SSLCertVerificationError):
            return "tls-certificate"
        if isinstance(one, ssl.SSLError):
            return "tls-refused"
        text += f"{one}\n"
    return next((kind for pattern, kind in WORDS if re.search(pattern, text, re.I)), "")


def judge(error: BaseException, target: Target, seconds: float) -> Step:
    """The broken step behind an exception of the driver's connect."""
    text = words_of(error)
    if any(isinstance(one, TimeoutError) for one in chain(error)) and not kind_of_failure(error):
        return broken(
            Layer.LOGIN,
            f"The server accepts the connection, but the login does not end in {seconds:g} s.",
            "Look into the server's log: it hangs, waits for an external authentication, or is a"
            " pooler that waits for its server.",
        )
    if any(isinstance(one, ConnectionResetError | ConnectionRefusedError) for one in chain(error)):
        return broken(
            Layer.NETWORK,
            "The connection was accepted before, and is refused or reset now.",
            "Run this again; then look into the server's log.",
            text,
        )
    return judge_kind(kind_of_failure(error), target, text)


def judge_mysql(number: int, message: str, target: Target) -> Step:
    """The same for an error that MySQL sends instead of a greeting."""
    return judge_kind(MYSQL.get(number, ""), target, f"({number}) {message}")


def judge_kind(kind: str, target: Target, text: str) -> Step:
    user, database = target.url.username or "(none)", target.url.database or "(none)"
    mysql = target.kind == "mysql"
    if kind in ("28000", "tls-required") and needs_tls(kind, target, text):
        return broken(
            Layer.TLS,
            "The server demands TLS, and the client does not use it.",
            'Pass connect_args={"ssl": ssl.create_default_context(cafile=...)}.'
            if mysql
            else "Write sslmode=require (or verify-full) for sslmode=disable.",
            text,
        )
    if kind == "28P01":
        empty = target.url.password in (None, "")
        return broken(
            Layer.LOGIN,
            f"The server refuses the user {user}: "
            + (
                "the URL has no password."
                if empty
                else "there is no such user, or the password is wrong."
            ),
            f"Set the password anew, as an administrator: {set_password(target, user)}",
            text,
        )
    if kind == "28000":
        return broken(
            Layer.LOGIN,
            f"The server does not let the user {user} in from here.",
            f"Look at its rules ({'mysql.user' if mysql else 'pg_hba.conf'}): or the user does not"
            " exist, or may not log in.",
            text,
        )
    if kind == "3D000":
        return broken(
            Layer.DATABASE,
            f"There is no database {database} on the server.",
            f"CREATE DATABASE {identifier(database, target.kind)}, or correct the name in the URL.",
            text,
        )
    if kind == "42501":
        return broken(
            Layer.PRIVILEGES,
            f"The user {user} has no right on the database {database}"
            + (", or there is none of that name." if mysql else ": CONNECT is missing."),
            grant(target, user, database),
            text,
        )
    if kind == "53300":
        return broken(
            Layer.HEADROOM,
            "The server has no connection left for this user.",
            "SHOW PROCESSLIST; close what idles, or raise max_connections"
            if mysql
            else WHO_HAS_THEM,
            text,
        )
    if kind in REST:
        layer, message, remedy = REST[kind]
        return broken(layer, message, remedy, text)
    return broken(
        Layer.LOGIN, "The driver gets no connection.", "Read the driver's own words above.", text
    )


REST: dict[str, tuple[Layer, str, str]] = {
    "57P03": (
        Layer.SERVER,
        "The server is starting up or shutting down.",
        "Wait, and run this again; then look into the server's log.",
    ),
    "startup-parameter": (
        Layer.POOLER,
        "A PgBouncer is in between, and refuses a setting that the client sends at connect.",
        "Take it out of server_settings (or `options`); ALTER ROLE ... SET it at the server, or"
        " name it in PgBouncer's ignore_startup_parameters.",
    ),
    "pooler-down": (
        Layer.POOLER,
        "A pooler answers, and does not reach the server behind it.",
        "Look into the pooler's log: host, port, user and password of its [databases] entry.",
    ),
    "tls-refused": (
        Layer.TLS,
        "The TLS handshake between driver and server fails.",
        "Compare what client and server allow: sslmode here, ssl_min_protocol_version there.",
    ),
    "tls-certificate": (
        Layer.TLS,
        "The server's certificate does not verify, or there is nothing to verify it with.",
        "Name the authority that signed it: sslrootcert=/path/to/root.crt.",
    ),
    "22023": (
        Layer.URL,
        "The server does not know a setting that the URL or connect_args gives.",
        "Correct `options` or server_settings.",
    ),
    "42704": (
        Layer.URL,
        "The server does not know a setting that the URL or connect_args gives.",
        "Correct `options` or server_settings.",
    ),
    "cryptography": (
        Layer.DRIVER,
        "The server's way of logging in needs the package cryptography here.",
        "python -m pip install cryptography",
    ),
    "host-blocked": (
        Layer.LOGIN,
        "The server has blocked this host after too many broken connections.",
        "As an administrator: FLUSH HOSTS (mariadb-admin flush-hosts).",
    ),
    "host-not-allowed": (
        Layer.LOGIN,
        "The server lets nobody in from this host.",
        "As an administrator: CREATE USER 'name'@'%' ... for the host that this is.",
    ),
    "plugin": (
        Layer.LOGIN,
        "The driver does not know the way in which this user has to log in.",
        "As an administrator: ALTER USER ... IDENTIFIED VIA mysql_native_password, or"
        " caching_sha2_password.",
    ),
    "password-expired": (
        Layer.LOGIN,
        "The user's password has expired.",
        "As an administrator: ALTER USER ... IDENTIFIED BY ... PASSWORD EXPIRE NEVER.",
    ),
    "account-locked": (
        Layer.LOGIN,
        "The user's account is locked.",
        "As an administrator: ALTER USER ... ACCOUNT UNLOCK.",
    ),
}


def needs_tls(kind: str, target: Target, text: str) -> bool:
    """Was the login refused for want of TLS? With `prefer`, drivers have tried both ways."""
    if kind == "tls-required":
        return True
    return target.tls.mode in ("disable", "allow") and bool(
        re.search(r"no encryption|SSL off", text, re.IGNORECASE)
    )


def set_password(target: Target, user: str) -> str:
    if target.kind == "mysql":
        return f"ALTER USER {literal(user, 'mysql')}@'%' IDENTIFIED BY ..."
    return f"psql, then \\password {identifier(user)}"


def grant(target: Target, user: str, database: str) -> str:
    if target.kind == "mysql":
        return f"GRANT ALL ON {identifier(database, 'mysql')}.* TO {literal(user, 'mysql')}@'%'"
    return f"GRANT CONNECT ON DATABASE {identifier(database)} TO {identifier(user)}"


def broken(
    layer: Layer,
    message: str,
    next: str,
    evidence: str = "",
    code: Exit | None = None,
) -> Step:
    return Step(layer, Status.BROKEN, message, (evidence,) if evidence else (), next, code=code)
