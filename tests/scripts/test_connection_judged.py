"""What the layers make of what they were told, without a server.

test_connection_faults.py plants the same on real ones, as far as those can be made to say it.
"""

import contextlib
import sqlite3
import ssl
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import make_url
from sqlalchemy.exc import OperationalError

from projects.setup_door import alembic
from projects.shop import Shop
from toolkit.connection import (
    address,
    failures,
    ladder,
    load,
    mysql,
    pooler,
    postgresql,
    revision,
    source,
    tls,
    wire,
)
from toolkit.connection.address import Target
from toolkit.connection.engine_settings import EngineSettings
from toolkit.connection.expected import Expected, Room
from toolkit.connection.revision import History
from toolkit.connection.sqlite_file import is_memory
from toolkit.connection.steps import Broken, Layer, Status, Step
from toolkit.connection.timing import percentile
from toolkit.connection.translate import Tls, translate
from toolkit.connection.wire import Handshake, Peer
from toolkit.database.urls import kind_of
from toolkit.project import read_project

pytestmark = pytest.mark.any_sqlalchemy

POSTGRESQL = "postgresql+asyncpg://app:x@h/shop"
MYSQL = "mysql+aiomysql://app:x@h/shop"
EXPECTED = Expected(EngineSettings())


def target(url: str = POSTGRESQL, mode: str = "prefer") -> Target:
    made = make_url(url)
    kind = kind_of(made.drivername)
    assert kind is not None
    return Target(kind, made, {}, Tls(mode))


def step_of(judge: Callable[..., Step], *given: object, **named: object) -> Step:
    try:
        return judge(*given, **named)
    except Broken as broken:
        return broken.step


# Why there is no connection


@pytest.mark.parametrize(
    ("number", "layer", "words"),
    [
        (1040, Layer.HEADROOM, "no connection left"),
        (1203, Layer.HEADROOM, "no connection left"),
        (1226, Layer.HEADROOM, "no connection left"),
        (1044, Layer.PRIVILEGES, "no right"),
        (1045, Layer.LOGIN, "password is wrong"),
        (1698, Layer.LOGIN, "password is wrong"),
        (1049, Layer.DATABASE, "no database shop"),
        (1053, Layer.SERVER, "starting up or shutting down"),
        (1129, Layer.LOGIN, "blocked this host"),
        (1130, Layer.LOGIN, "nobody in from this host"),
        (1251, Layer.LOGIN, "the way in which"),
        (1524, Layer.LOGIN, "the way in which"),
        (2059, Layer.LOGIN, "the way in which"),
        (1820, Layer.LOGIN, "has expired"),
        (1862, Layer.LOGIN, "has expired"),
        (3118, Layer.LOGIN, "is locked"),
        (4151, Layer.LOGIN, "is locked"),
        (3159, Layer.TLS, "demands TLS"),
        (9999, Layer.LOGIN, "gets no connection"),
    ],
)
def test_the_numbers_of_mysql_name_their_layer(number: int, layer: Layer, words: str) -> None:
    wrapped = OperationalError("", {}, Exception(number, "its words"))
    for step in (
        failures.judge(wrapped, target(MYSQL), 5),
        failures.judge_mysql(number, "its words", target(MYSQL)),
    ):
        assert (step.layer, step.evidence[0].partition(" (")[0]) in {
            (layer, "Exception:"),
            (layer, f"({number}) its words"),
        }
        assert words in step.message


class Said(Exception):
    """As a driver says it."""

    def __init__(self, words: str, sqlstate: str | None = None) -> None:
        super().__init__(words)
        self.sqlstate = sqlstate


@pytest.mark.parametrize(
    ("words", "layer"),
    [
        ("unsupported startup parameter: search_path", Layer.POOLER),
        ("no more connections allowed (max_client_conn)", Layer.HEADROOM),
        ("remaining connection slots are reserved for roles with", Layer.HEADROOM),
        ("no such database: shop", Layer.DATABASE),
        ("permission denied for database", Layer.PRIVILEGES),
        ("server login has been failing, try again later", Layer.POOLER),
        ("query_wait_timeout", Layer.POOLER),
        ("SASL authentication failed", Layer.LOGIN),
        ("no such user: app", Layer.LOGIN),
        ('Peer authentication failed for user "app"', Layer.LOGIN),
        ("the database system is starting up", Layer.SERVER),
        ("the database system is not accepting connections", Layer.SERVER),
        ("rejected SSL upgrade", Layer.TLS),
        ('root certificate file "/root.crt" does not exist', Layer.TLS),
        ('unrecognized configuration parameter "jitt"', Layer.URL),
        ("'cryptography' package is required for sha256_password", Layer.DRIVER),
        ("nobody knows", Layer.LOGIN),
    ],
)
def test_words_decide_where_a_pooler_gives_one_state_for_all(words: str, layer: Layer) -> None:
    assert failures.judge(Said(words, "08P01"), target(), 5).layer is layer
    assert failures.judge(Said(words), target(), 5).layer is layer
    assert failures.judge(Said(words, "53300"), target(), 5).layer is Layer.HEADROOM


def test_what_is_no_answer_of_the_servers_is_told_apart() -> None:
    slow = failures.judge(TimeoutError(), target(), 5)
    assert slow.layer is Layer.LOGIN
    assert "does not end in 5 s" in slow.message
    full = Said("too many clients already")
    full.__cause__ = TimeoutError()
    assert failures.judge(full, target(), 5).layer is Layer.HEADROOM
    assert failures.judge(ConnectionResetError(), target(), 5).layer is Layer.NETWORK
    certificate = ssl.SSLCertVerificationError("certificate verify failed")
    assert "does not verify" in failures.judge(certificate, target(), 5).message
    assert "handshake" in failures.judge(ssl.SSLError("wrong version"), target(), 5).message


@pytest.mark.parametrize(
    ("mode", "words", "layer"),
    [
        ("disable", "no pg_hba.conf entry for host, no encryption", Layer.TLS),
        ("allow", "no pg_hba.conf entry for host, SSL off", Layer.TLS),
        ("disable", "no pg_hba.conf entry for host, SSL encryption", Layer.LOGIN),
        ("prefer", "no pg_hba.conf entry for host, no encryption", Layer.LOGIN),
    ],
)
def test_tls_is_blamed_only_where_the_client_did_not_use_it(
    mode: str, words: str, layer: Layer
) -> None:
    assert failures.judge(Said(words), target(mode=mode), 5).layer is layer


def test_a_url_without_a_password_is_told_so() -> None:
    for url in ("postgresql+asyncpg://app@h/shop", "postgresql+asyncpg://app:@h/shop"):
        step = failures.judge_kind("28P01", target(url), "")
        assert "the URL has no password" in step.message
    assert "the URL has no" not in failures.judge_kind("28P01", target(), "").message


def test_a_greeting_tells_who_is_there() -> None:
    flags = b"\0" * 13 + (wire.CLIENT_SSL).to_bytes(2, "little")
    packet = b"\x4a\0\0\0\x0a8.0.36\0"
    assert wire.recognised(packet + flags) == Peer("mysql", True, "8.0.36")
    assert wire.recognised(packet + b"\0" * 15) == Peer("mysql", False, "8.0.36")
    refused = b"\x20\0\0\0\xff" + (1130).to_bytes(2, "little") + b"#HY000Host is not allowed"
    assert wire.recognised(refused).refusal == (1130, "Host is not allowed")
    old = refused.replace(b"#HY000", b"")
    assert wire.recognised(old).refusal == (1130, "Host is not allowed")
    assert wire.recognised(b"S") == Peer("postgresql", offers_tls=True)
    assert wire.recognised(b"N") == Peer("postgresql")
    assert wire.recognised(b"E\0\0\0\x20SFATAL\0").speaks == "postgresql"
    for first, name in (
        (b"-ERR unknown", "Redis"),
        (b"\x15\x03\x01\0\x02\x02", "TLS from the first byte (HTTPS?)"),
        (b"220 mail", "SMTP or FTP"),
        (b"+OK ready", "POP3"),
        (b"EHLO", "an unknown protocol"),
        (b"", ""),
    ):
        assert wire.recognised(first) == Peer(name)


# The URL


@pytest.mark.parametrize(
    ("query", "arguments", "tls_mode"),
    [
        ("connect_timeout=0", {"timeout": None}, "prefer"),
        ("connect_timeout=10", {"timeout": 10.0}, "prefer"),
        ("statement_cache_size=0", {"statement_cache_size": 0}, "prefer"),
        ("command_timeout=1.5", {"command_timeout": 1.5}, "prefer"),
        ("ssl=require", {"ssl": "require"}, "require"),
        ("application_name=a", {"server_settings": {"application_name": "a"}}, "prefer"),
        (
            "options=-c%20statement_timeout%3D9%20--lock-timeout%3D1\\%20s",
            {"server_settings": {"statement_timeout": "9", "lock_timeout": "1 s"}},
            "prefer",
        ),
        ("channel_binding=prefer", {}, "prefer"),
    ],
)
def test_a_url_in_the_words_of_libpq_is_translated(
    query: str, arguments: dict[str, Any], tls_mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PGSSLMODE", raising=False)
    made = translate(make_url(f"{POSTGRESQL}?{query}"), "postgresql", {})
    assert made.arguments == arguments
    assert not made.url.query
    assert made.tls.mode == tls_mode


def test_a_root_certificate_makes_require_verify_the_authority_and_not_the_name() -> None:
    for mode, verified, names in (
        ("require", "verify-ca", False),
        ("verify-ca", "verify-ca", False),
        ("verify-full", "verify-full", True),
    ):
        url = make_url(f"{POSTGRESQL}?sslmode={mode}&sslrootcert=system")
        made = translate(url, "postgresql", {})
        assert (made.tls.mode, made.tls.root) == (verified, "system")
        assert made.arguments["ssl"].check_hostname is names
        assert "'ssl': '" + mode in made.cure


def test_an_engines_own_ssl_counts_where_the_url_says_nothing() -> None:
    url = make_url(POSTGRESQL)
    assert translate(url, "postgresql", {"ssl": True}).tls.mode == "require"
    assert translate(url, "postgresql", {"ssl": False}).tls.mode == "disable"
    asked = url.update_query_dict({"sslmode": "allow"})
    assert translate(asked, "postgresql", {"ssl": True}).tls.mode == "allow"
    assert translate(make_url(MYSQL), "mysql", {}).tls.mode == "disable"
    assert translate(make_url(MYSQL), "mysql", {"ssl": object()}).tls.mode == "prefer"


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("sslmode=on", "'on', which does not exist"),
        ("connect_timeout=soon", "not a number"),
        ("options=-c%20jit", "is not `-c name=value ...`"),
        ("sslmode=verify-ca&sslrootcert=/no/root.crt", "cannot be read: No such file"),
    ],
)
def test_what_no_translation_makes_right_is_told(query: str, words: str) -> None:
    with pytest.raises(Broken, match=words) as broken:
        translate(make_url(f"{POSTGRESQL}?{query}"), "postgresql", {})
    assert broken.value.step.layer is Layer.URL


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("a", "a"),
        (" 'a # b' # c", "a # b"),
        ('"a"b', "a"),
        ("a#b", "a#b"),
        ("a #b", "a"),
        ("'a", "'a"),
        ("''", ""),
    ],
)
def test_a_value_is_read_as_dotenv_reads_it(text: str, read: str) -> None:
    assert source.unquoted(text) == read


def test_two_urls_of_one_database_are_one() -> None:
    one = source.address_of("postgresql+asyncpg://app:x@h:5432/shop?sslmode=require")
    assert one == source.address_of("postgres://app:y@h:5432/shop")
    for other in ("postgres://app@h:5432/shop2", "postgres://b@h:5432/shop", "mysql://app@h/shop"):
        assert one != source.address_of(other)


def test_a_sqlalchemy_that_loses_connections_is_told() -> None:
    for old in ("2.0.57", "2.1.8", "2.0.0b1"):
        (verdict,) = address.old_sqlalchemy(old)
        assert verdict.status is Status.WARNING
    for new in ("2.0.58", "2.0.100", "2.1.9", "3.0.0"):
        assert address.old_sqlalchemy(new) == []


def test_what_is_in_memory_is_told_from_a_file() -> None:
    assert is_memory(None, {}) and is_memory(":memory:", {}) and is_memory("a", {"vfs": "memdb"})
    assert is_memory("file:a?mode=memory", {}) and is_memory("a", {"mode": "memory"})
    assert not is_memory("memory.db", {"mode": "ro"})


# TLS

DAY = 86400


@pytest.mark.parametrize(
    ("begins", "ends", "mode", "status", "words"),
    [
        (-90, 90, "verify-full", Status.OK, "verified"),
        (-90, 90, "require", Status.OK, "not verified"),
        (-90, 20.5, "require", Status.WARNING, "expires in 20 days"),
        (-90, 21.5, "require", Status.OK, "not verified"),
        (-90, -1, "prefer", Status.WARNING, "expired on"),
        (-90, -1, "require", Status.BROKEN, "expired on"),
        (1, 90, "prefer", Status.WARNING, "not valid before"),
        (1, 90, "require", Status.BROKEN, "not valid before"),
    ],
)
def test_a_certificate_is_judged_by_its_days_and_by_what_the_client_demands(
    begins: float, ends: float, mode: str, status: Status, words: str
) -> None:
    now = time.time()
    found = Handshake("TLSv1.3", "AES", now + begins * DAY, now + ends * DAY)
    step = step_of(tls.judge, target(mode=mode), found, "")
    assert step.status is status
    assert words in step.message


def test_a_certificate_that_does_not_verify_is_told_once() -> None:
    now = time.time()
    found = Handshake("TLSv1.3", "AES", now - DAY, now + 90 * DAY, "self-signed")
    step = step_of(tls.judge, target(mode="verify-ca"), found, "")
    assert (step.status, "self-signed" in step.message) == (Status.BROKEN, True)
    step = step_of(tls.judge, target(mode="verify-ca"), replace(found, ends=now - 1), "")
    assert "expired" in step.message
    assert "self-signed" not in repr(step)
    step = step_of(tls.judge, target(), Handshake("TLSv1.1", "AES", None, None), "")
    assert (step.status, "out of date" in step.message) == (Status.WARNING, True)


# The server

FACTS: dict[str, Any] = {
    "version": "18.1", "encoding": "UTF8", "zone": "UTC", "in_recovery": False,
    "read_only": False, "role": "app", "super": False, "stuck": 0,
    "max_connections": 100, "reserved_super": 3, "reserved": 2, "used": 10,
    "role_limit": -1, "used_by_role": 4, "database_limit": -1, "used_in_database": 7,
}  # fmt: skip
MY_FACTS: dict[str, Any] = {
    "version": "11.4.2-MariaDB", "comment": "", "encoding": "utf8mb4", "zone": "UTC",
    "database": "shop", "read_only": 0, "sql_mode": "STRICT_TRANS_TABLES",
    "max_connections": 100, "used": 10, "role_limit": 0, "used_by_role": 4,
    "wait_timeout": 28800, "innodb_lock_wait_timeout": 50, "lock_wait_timeout": 86400,
}  # fmt: skip


@pytest.mark.parametrize(
    ("facts", "status", "words"),
    [
        ({}, Status.OK, "read and write"),
        ({"version": "9.6.24"}, Status.WARNING, "no repairs since 2021-11-11"),
        ({"version": "99.1"}, Status.OK, "99.1"),
        ({"zone": "Etc/UTC"}, Status.OK, "Etc/UTC"),
        ({"encoding": "SQL_ASCII"}, Status.BROKEN, "not even checked"),
        ({"encoding": "SQL_ASCII", "version": "9.6.24"}, Status.BROKEN, "SQL_ASCII"),
        ({"read_only": True}, Status.BROKEN, "default_transaction_read_only"),
    ],
)
def test_a_postgresql_is_judged_by_its_settings(
    facts: dict[str, Any], status: Status, words: str
) -> None:
    step = step_of(postgresql.judge_server, FACTS | facts, EXPECTED)
    assert step.status is status
    assert words in step.message


@pytest.mark.parametrize(
    ("facts", "status", "words"),
    [
        ({}, Status.OK, "MariaDB 11.4.2"),
        ({"version": "8.4.1", "comment": "MySQL Community"}, Status.OK, "MySQL 8.4.1"),
        ({"version": "8.4.1", "comment": "mariadb.org"}, Status.OK, "MariaDB 8.4.1"),
        ({"version": "5.7.1"}, Status.WARNING, "MySQL 5.7.1 has had no repairs"),
        ({"encoding": "utf8mb3"}, Status.WARNING, "cannot store an emoji"),
        ({"encoding": "latin1"}, Status.BROKEN, "does not hold every text"),
        ({"encoding": "latin1", "database": None}, Status.OK, "latin1"),
        ({"read_only": "OFF"}, Status.OK, "MariaDB"),
        ({"read_only": "ON"}, Status.BROKEN, "read_only"),
        ({"sql_mode": "", "zone": "CET"}, Status.BROKEN, "CET, not UTC"),
    ],
)
def test_a_mysql_is_judged_by_its_settings(
    facts: dict[str, Any], status: Status, words: str
) -> None:
    step = step_of(mysql.judge_server, MY_FACTS | facts, EXPECTED)
    assert step.status is status
    assert words in step.message


def test_a_replica_that_is_meant_may_be_read_only() -> None:
    meant = replace(EXPECTED, read_only=True)
    for facts in ({"read_only": True}, {"in_recovery": True}):
        assert step_of(postgresql.judge_server, FACTS | facts, meant).status is Status.OK
    assert step_of(mysql.judge_server, MY_FACTS | {"read_only": 1}, meant).status is Status.OK


@pytest.mark.parametrize(
    ("facts", "room"),
    [
        ({}, Room(95, 10, "max_connections less reserved")),
        ({"super": True}, Room(100, 10, "max_connections less reserved")),
        ({"role_limit": 88}, Room(88, 4, "app's limit")),
        ({"role_limit": 0}, Room(0, 4, "app's limit")),
        ({"role_limit": 95}, Room(95, 10, "max_connections less reserved")),
        ({"database_limit": 20}, Room(20, 7, "the database's limit")),
        ({"role_limit": 1, "super": True}, Room(100, 10, "max_connections less reserved")),
        ({"database_limit": 1, "super": True}, Room(100, 10, "max_connections less reserved")),
        ({"stuck": 3}, Room(95, 10, "max_connections less reserved", 3)),
    ],
)
def test_the_narrowest_limit_counts(facts: dict[str, Any], room: Room) -> None:
    assert postgresql.room(FACTS | facts) == room


def test_the_narrowest_limit_of_mysql_counts() -> None:
    assert mysql.room(MY_FACTS) == Room(100, 10, "max_connections")
    assert mysql.room(MY_FACTS | {"role_limit": 20}) == Room(20, 4, "max_user_connections")
    assert Room(5, 9, "").free == 0


@pytest.mark.parametrize(
    ("settings", "warned"),
    [
        ({}, True),
        ({"pre_ping": True}, False),
        ({"pool_recycle": 0}, True),
        ({"pool_recycle": 59}, False),
        ({"pool_recycle": 60}, True),
    ],
)
def test_a_pool_that_keeps_connections_longer_than_the_server_is_told(
    settings: dict[str, Any], warned: bool
) -> None:
    expected = Expected(EngineSettings(**settings))
    for step in (
        postgresql.judge_timeouts({"idle_session_timeout": 60_000}, expected),
        mysql.judge_timeouts(MY_FACTS | {"wait_timeout": 60}, expected),
    ):
        assert (step.status is Status.WARNING) is warned
        assert not warned or (step.next or "").startswith("pool_recycle=30, or")
    assert postgresql.judge_timeouts({}, expected).status is Status.OK
    assert mysql.judge_timeouts(MY_FACTS | {"wait_timeout": 300}, expected).status is Status.OK


def test_a_statement_timeout_in_what_may_be_seconds_is_told() -> None:
    for milliseconds, status in ((0, Status.OK), (99, Status.WARNING), (100, Status.OK)):
        step = postgresql.judge_timeouts({"statement_timeout": milliseconds}, EXPECTED)
        assert step.status is status


# Pool and pooler


def test_connections_that_are_stuck_are_a_warning_until_they_are_half_of_the_room() -> None:
    few = Expected(EngineSettings(2, 1))
    for stuck, status in ((0, Status.OK), (9, Status.WARNING), (10, Status.BROKEN)):
        step = step_of(ladder.judge_room, few, Room(20, 10, "", stuck), pooler=False)
        assert step.status is status
    many = Expected(EngineSettings(9, 12))
    step = step_of(ladder.judge_room, many, Room(20, 10, "", 9), pooler=False)
    assert "may open" in step.message  # what is broken comes before what is a warning
    plain = Expected(EngineSettings(no_pool=True))
    assert "NullPool" in repr(step_of(ladder.judge_room, plain, Room(99, 0, ""), pooler=False))


def test_a_load_is_bounded_by_each_of_its_limits() -> None:
    room = Room(100, 0, "")
    large = Expected(EngineSettings(50, 50), load=60)
    assert load.connections_for(large, room) == load.MOST_CONNECTIONS
    assert load.connections_for(replace(large, load=3), room) == 3
    assert load.connections_for(Expected(EngineSettings(1, 1)), room) == 2
    assert load.connections_for(large, Room(9, 0, "")) == 4


def loaded(**values: Any) -> load.Load:
    values = {name: Counter(one) if name == "failures" else one for name, one in values.items()}
    return load.Load(20, 2, waits=[0.001, 0.25], **values)


def test_a_pool_that_fails_or_keeps_a_connection_is_broken() -> None:
    assert "longest wait 250 ms" in load.judge_pool(loaded(), EXPECTED).message
    for given, words in (
        ({"failures": {"no": 3, "more": 1}}, "4 of 20 tasks got no answer"),
        ({"left_out": 1}, "1 connections were not given back"),
    ):
        step = step_of(load.judge_pool, loaded(**given), EXPECTED)
        assert (step.layer, step.status) == (Layer.POOL, Status.BROKEN)
        assert words in step.message


@pytest.mark.parametrize(
    ("backends", "mode"),
    [
        ({1: {7}, 2: {8}}, "session"),
        ({1: {7, 8}, 2: {9}}, "transaction"),
        ({1: {7}, 2: {7}}, "transaction"),
    ],
)
def test_the_mode_of_a_pooler_is_what_the_load_has_shown(
    backends: dict[int, set[int]], mode: str
) -> None:
    step = pooler.judge_pooler(target(), "why", loaded(backends=backends))
    assert (step.status, step.data["mode"]) == (Status.OK, mode)
    failed = loaded(backends=backends, failures={'prepared statement "a" does not exist': 2})
    step = step_of(pooler.judge_pooler, target(), "why", failed)
    assert (step.status, step.data["mode"]) == (Status.BROKEN, "transaction")
    other = loaded(backends=backends, failures={"out of memory": 2})
    assert pooler.judge_pooler(target(), "why", other).status is Status.OK
    assert pooler.judge_pooler(target(MYSQL), "why", loaded()).status is Status.WARNING


def test_a_pooler_is_seen_by_its_name_or_by_its_number() -> None:
    facts = {"version": "8.0.36", "pid": 7}
    assert pooler.between(facts, 7) is None
    assert pooler.between(facts, None) is None
    assert "was 8, a query says 7" in (pooler.between(facts, 8) or "")
    assert "ProxySQL" in (pooler.between(facts | {"comment": "(ProxySQL)"}, 7) or "")


def test_a_percentile_is_a_value_that_was_measured() -> None:
    measured = [float(number) for number in range(100, 0, -1)]
    assert [percentile(measured, share) for share in (0, 0.5, 0.95, 0.99)] == [1, 50, 95, 99]
    assert percentile([3.0], 0.99) == 3


# The revision


def test_the_history_tells_what_is_behind() -> None:
    history = History({"a": (), "b": ("a",), "c": ("a",), "d": ("b", "c")})
    assert history.heads == {"d"}
    for current, behind in ((["d"], 0), (["b"], 2), (["b", "c"], 1), ([], 4)):
        assert history.behind(current) == behind
    ending = step_of(revision.judge_revision, history, frozenset({"b", "c"}))
    assert "is 1 revision behind" in ending.message
    assert ending.next == "alembic upgrade head"
    assert "is empty" in step_of(revision.judge_revision, history, frozenset()).message
    assert "is missing" in step_of(revision.judge_revision, history, None).message
    unknown = step_of(revision.judge_revision, history, frozenset({"b", "x"}))
    assert (unknown.status, "at x, which" in unknown.message) == (Status.WARNING, True)
    assert revision.judge_revision(History({}), None).status is Status.OK
    forked = step_of(revision.judge_revision, History({"a": (), "b": ()}), frozenset({"a"}))
    assert forked.next == "alembic upgrade heads"


def test_what_a_revision_depends_on_is_not_missing(tmp_path: Path) -> None:
    """Alembic's table does not name a branch that another one needs."""
    shop, database = Shop(tmp_path / "shop"), tmp_path / "own.db"
    for name, more in (
        ("first", "down_revision = None\nbranch_labels = ('billing',)\ndepends_on = None\n"),
        ("second", "down_revision = 'first'\nbranch_labels = None\ndepends_on = None\n"),
        ("users", "down_revision = None\ndepends_on = ['second']\nbranch_labels = f'us{1}'\n"),
        ("mails", "down_revision = None\ndepends_on = 'billing'\n"),
    ):
        text = f"revision = {name!r}\n{more}\ndef upgrade(): ...\n\ndef downgrade(): ...\n"
        shop.write(f"alembic/versions/{name}.py", text)
    url = f"sqlite+aiosqlite:///{database}"
    ended = alembic(shop.root / "alembic.ini", "upgrade", "heads", url=url)
    assert ended.code == 0, ended.err
    with contextlib.closing(sqlite3.connect(database)) as connection:
        current = frozenset(row[0] for row in connection.execute("SELECT * FROM alembic_version"))
    assert current == {"users", "mails"}
    history = revision.read_history(read_project(shop.root))
    assert history is not None
    assert history.heads == {"second", "users", "mails"}
    assert revision.judge_revision(history, current).status is Status.OK
    assert history.behind(["mails"]) == 2
