"""optimize-queries on PostgreSQL, where planning calls functions and one server holds it all."""

import sys
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import make_url

from harm.asking import also
from harm.production import APP, CRM, READER, Production
from projects import plans_capture as capture
from servers.postgres import PostgresServer
from toolkit.database import private_server
from toolkit.queries.plans import measure_statements
from toolkit.queries.plans.model import PlansReport

pytestmark = [pytest.mark.dialects("postgresql"), pytest.mark.any_sqlalchemy]
# Somebody has called it IMMUTABLE so that an index may use it, and it writes elsewhere.
SPY = """
CREATE FUNCTION audit.spy(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN
    PERFORM * FROM dblink('{to}', $q$INSERT INTO calls (note) VALUES ('spied') RETURNING id$q$)
        AS d(id int);
    RETURN $1;
END $$
"""
MADE = (
    "CREATE EXTENSION dblink",
    SPY,
    "CREATE VIEW audit.watched AS SELECT * FROM customers WHERE id = audit.spy(3)",
    "CREATE OPERATOR public.~~~ (FUNCTION = audit.spy, RIGHTARG = int)",
    # Each reading of these rows draws a number of another database.
    "CREATE EXTENSION postgres_fdw",
    "CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw OPTIONS ({server})",
    "CREATE USER MAPPING FOR PUBLIC SERVER far OPTIONS (user '{user}', password '{password}')",
    "CREATE TABLE orders (id int, part int) PARTITION BY LIST (part)",
    "CREATE TABLE orders_here PARTITION OF orders FOR VALUES IN (1)",
    "CREATE FOREIGN TABLE orders_far PARTITION OF orders FOR VALUES IN (2) SERVER far"
    " OPTIONS (table_name 'numbered')",
    "ALTER TABLE orders OWNER TO harm_owner",
    "ALTER TABLE orders_here OWNER TO harm_owner",
    "ALTER FOREIGN TABLE orders_far OWNER TO harm_owner",
    f"GRANT USAGE ON SCHEMA audit TO {READER}",
)
NUMBERED = "CREATE VIEW numbered AS SELECT nextval('calls_id_seq')::int AS id, 2 AS part"
GONE = (
    f"REVOKE USAGE ON SCHEMA audit FROM {READER}",
    "DROP TABLE orders",
    "DROP SERVER far CASCADE",
    "DROP EXTENSION postgres_fdw",
    "DROP OPERATOR public.~~~ (NONE, int)",
    "DROP VIEW audit.watched",
    "DROP FUNCTION audit.spy(int)",
    "DROP EXTENSION dblink",
)


def crm(production: Production) -> str:
    url = make_url(production.superuser_url).set(database=CRM)
    return url.render_as_string(hide_password=False)


@pytest.fixture
def far(production: Production, postgres_server: PostgresServer) -> Iterator[Callable[[], int]]:
    """With ways to the other database; the last number that was drawn there."""
    server = postgres_server
    quoted = server.password.replace("\\", r"\\").replace("'", r"\'")
    to = f"host={server.host} port={server.port} dbname={CRM} user={server.user} password={quoted}"
    options = f"host '{server.host}', port '{server.port}', dbname '{CRM}'"
    words = {"to": spaced(to, quoted), "server": options, "user": server.user}
    words["password"] = server.password

    def last_number() -> int:
        return int(capture.script(crm(production), "SELECT last_value FROM calls_id_seq")[0][0])

    capture.script(crm(production), NUMBERED.replace(":", r"\:"))
    try:
        with also(production, [one.format_map(words) if "{" in one else one for one in MADE], GONE):
            yield last_number
    finally:
        capture.script(crm(production), "DROP VIEW numbered")
        production.before = production.fingerprint()


def spaced(connection: str, password: str) -> str:
    """In a connection string a value with blanks stands in quotes, twice in one of SQL."""
    return connection.replace(password, f"''{password}''")


def measured(
    url: str, *statements: Any, say: Callable[[str], None] = lambda _: None
) -> PlansReport:
    return measure_statements(make_url(url), statements, say=say)


@pytest.mark.parametrize(
    ("sql", "why"),
    [
        ("SELECT name FROM customers WHERE id = audit.spy($1)", "it calls spy"),
        ('UPDATE customers SET name = $$x$$ WHERE id = "audit" . "spy" /* ( */ ($1)',
         "it calls spy"),
        ("SELECT name FROM customers WHERE id = ~~~ CAST($1 AS int)", "it uses ~~~, an operator"),
        ("SELECT name FROM audit.watched WHERE id > $1", "watched is no table but a view"),
    ],
    ids=["select", "update", "operator", "view"],
)  # fmt: skip
def test_planning_calls_nothing_that_somebody_wrote(
    production: Production, far: Callable[[], int], sql: str, why: str
) -> None:
    report = measured(production.superuser_url, capture.statement(sql, 3))
    assert production.harm() == []
    assert report.notes and f"not measured: {why}" in report.notes[0]


def test_a_view_is_left_out_without_a_parser_as_well(
    production: Production, far: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "sqlglot", None)
    sql = "SELECT name FROM audit.watched WHERE id > $1"
    report = measured(production.superuser_url, capture.statement(sql, 3))
    assert production.harm() == []
    assert "watched is no table but a view" in report.notes[0]


def test_a_policy_is_not_called_when_rows_are_copied(
    production: Production, far: Callable[[], int]
) -> None:
    capture.script(
        production.superuser_url,
        f"CREATE POLICY spied ON customers TO {APP} USING (audit.spy(id) > 0)",
        "DROP POLICY everyone ON customers",
    )
    production.before = production.fingerprint()
    try:
        sql = "SELECT name FROM customers WHERE name = $1"
        report = measured(production.app_url, capture.statement(sql, "x"))
        assert production.harm() == []
    finally:
        capture.script(
            production.superuser_url,
            "DROP POLICY spied ON customers",
            f"CREATE POLICY everyone ON customers TO {READER} USING (true)",
        )
        production.before = production.fingerprint()
    assert "customers has a policy or rule that calls spy" in report.notes[0]


def test_a_part_on_another_server_is_not_copied(
    production: Production, far: Callable[[], int]
) -> None:
    before = far()
    report = measured(
        production.url,
        capture.statement("SELECT part FROM orders WHERE id = $1", 3),
        capture.statement("SELECT part FROM orders_far WHERE id = $1", 3),
    )
    assert far() == before
    assert "orders has a part on another server" in report.notes[0]
    assert "orders_far is no table but a view or foreign" in report.notes[1]


def test_a_text_that_is_run_reaches_no_other_database(
    production: Production, far: Callable[[], int], postgres_server: PostgresServer
) -> None:
    """The statement is plain; what it has run stands in its parameter."""
    server = postgres_server
    to = f"host={server.host} port={server.port} dbname={CRM} user={server.user}"
    hidden = (
        f"SELECT to_tsvector(d.note) FROM dblink('{to} password=''{server.password}''',"
        " 'INSERT INTO calls (note) VALUES (1) RETURNING note') AS d(note text)"
    )
    sql = "SELECT c.id FROM customers c, ts_stat(CAST($1 AS text)) s WHERE c.id = 3"
    report = measured(production.superuser_url, capture.statement(sql, hidden.replace("\\", "")))
    assert production.harm() == []
    assert "it calls ts_stat" in report.notes[0]


KILL = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name='production'"


def test_a_text_that_is_run_ends_no_session(production: Production) -> None:
    sql = "SELECT query_to_xml(CAST($1 AS text), true, false, '') FROM customers WHERE id = 3"
    report = measured(production.superuser_url, capture.statement(sql, KILL))
    assert production.harm() == []
    assert "it calls query_to_xml" in report.notes[0]


def test_a_spelling_that_hides_a_name_is_not_believed(production: Production) -> None:
    [(pid,)] = capture.script(
        production.superuser_url,
        "SELECT pid FROM pg_stat_activity WHERE application_name = 'production'",
    )
    sql = (
        r"""SELECT U&"pg\005fterminate\005fbackend"(CAST($1 AS int)) FROM customers WHERE id = 3"""
    )
    report = measured(production.superuser_url, capture.statement(sql, pid))
    assert production.harm() == []
    assert "its spelling hides what it calls" in report.notes[0]


def test_what_comes_after_a_semicolon_is_not_sent(production: Production) -> None:
    """psycopg sends all of it, and COMMIT ends the transaction that only reads."""
    sql = "SELECT id FROM customers WHERE id = %s; COMMIT; DELETE FROM billing.invoices"
    url = make_url(production.url).set(drivername="postgresql+psycopg")
    report = measure_statements(url, [capture.statement(sql, 3)])
    assert production.harm() == []
    assert report.notes == ("app/crud.py:10: not measured: it is several statements",)


def test_what_acts_on_the_server_is_left_out(production: Production) -> None:
    calls = ("nextval('customers_id_seq')", "pg_notify('harm', name)", "pg_advisory_lock(7)",
             "lo_create(0)", "currval('customers_id_seq')", 'public."nextval"(id)')  # fmt: skip
    found = [capture.statement(f"SELECT {one} FROM customers WHERE id = $1", 3) for one in calls]
    report = measured(production.superuser_url, *found)
    assert report.measured == () and report.findings == ()
    last = "SELECT last_value, is_called FROM customers_id_seq"
    assert capture.script(production.superuser_url, last) == [(50, True)]


def test_the_copy_is_elsewhere_and_statements_have_no_power_there(
    production: Production, far: Callable[[], int]
) -> None:
    """Also of a superuser's: his server is only read, and on the private one he is nobody."""
    looks: list[list[str]] = []

    def look(_words: str) -> None:
        looks.append(production.harm())

    made = (
        "CREATE FUNCTION audit.on_change() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN PERFORM audit.spy(3); RETURN NEW; END $$",
        "CREATE TRIGGER spied BEFORE UPDATE ON customers FOR EACH ROW"
        " EXECUTE FUNCTION audit.on_change()",
    )
    with also(production, made, ("DROP FUNCTION audit.on_change() CASCADE",)):
        report = measured(
            production.superuser_url,
            capture.statement("UPDATE customers SET name = $1 WHERE name > $2", "x", "a"),
            capture.statement(
                "SELECT id FROM customers WHERE id > 0 AND current_setting('is_superuser') = 'on'"
            ),
            capture.statement(
                "SELECT id FROM customers WHERE id > 0 AND to_regproc('hypopg_reset') IS NOT NULL"
            ),
            say=look,
        )
    assert len(looks) >= 4 and looks == [[]] * len(looks)
    power, hypothetical, update = report.measured
    assert power.before.plan.rows == 0
    # What the search for indexes needs of a superuser was made for it.
    is_there = "SELECT 50 * count(*) FROM pg_available_extensions WHERE name = 'hypopg'"
    [(expected,)] = capture.script(production.superuser_url, is_there)
    assert hypothetical.before.plan.rows == expected
    assert update.shape.startswith("UPDATE")


def test_without_a_private_server_production_is_not_taken(
    production: Production, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A developer's own server is, by a role that owns the copy and nothing else."""

    def no_programs(_kind: str) -> dict[str, str]:
        raise private_server.NoBinaries("no PostgreSQL programs are on this machine")

    monkeypatch.setattr(private_server, "find_programs", no_programs)
    found = [
        capture.statement("SELECT id FROM customers WHERE name = $1", "x"),
        capture.statement("SELECT audit.note(name) FROM customers WHERE id = $1", 3),
    ]
    own = measured(production.superuser_url, *found)
    assert production.harm() == []
    assert len(own.measured) == 1
    assert any(note.startswith("scratch copy: on the server 127.0.0.1") for note in own.notes)
    monkeypatch.setenv("APP_ENV", "production")
    report = measured(production.superuser_url, *found)
    assert production.harm() == []
    assert report.measured == ()
    assert report.skipped and "\n" not in report.skipped
    assert report.skipped.startswith("No scratch PostgreSQL database can be made: no PostgreSQL")
    assert "APP_ENV is production" in report.skipped


def test_a_right_to_read_suffices(production: Production) -> None:
    """For a role whose every transaction reads only."""
    role = "harm_reading"
    made = (
        f"CREATE ROLE {role} LOGIN PASSWORD 'r' BYPASSRLS",
        f"ALTER ROLE {role} SET default_transaction_read_only = on",
        f"GRANT SELECT ON customers TO {role}",
    )
    with also(production, made, (f"DROP OWNED BY {role}", f"DROP ROLE {role}")):
        url = make_url(production.url).set(username=role, password="r")
        found = [capture.statement("SELECT id FROM customers WHERE name = $1", "x")]
        report = measure_statements(url, found)
    assert report.skipped is None and len(report.measured) == 1


def test_the_copy_sorts_text_as_the_given_database(postgres_server: PostgresServer) -> None:
    """Or an index for LIKE would be proposed that production can't use."""
    name = f"asp_test_sorted_{uuid.uuid4().hex[:8]}"
    postgres_server.execute(
        f"CREATE DATABASE {name} TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'"
    )
    try:
        url = postgres_server.url(name)
        capture.script(
            url,
            "CREATE TABLE words (id int PRIMARY KEY, word text NOT NULL, pad text)",
            "INSERT INTO words SELECT i, md5(i\\:\\:text), repeat('x', 90)"
            " FROM generate_series(1, 20000) i",
            "CREATE INDEX ix_words_word ON words (word)",
            "ANALYZE",
        )
        found = [capture.statement("SELECT pad FROM words WHERE word LIKE 'abc%'")]
        report = measured(url, *found)
    finally:
        postgres_server.drop_database(name)
    assert report.notes == () and report.findings == ()
    assert "ix_words_word" in repr(report.measured[0].before.plan)
