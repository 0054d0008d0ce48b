"""A proof on a server that holds production: its role reaches nothing but the scratch.

Each statement is what a revision that nobody has read could hold. It is run as the proof runs
it, on the address that the proof has.
"""

import contextlib
import re
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import make_url

from harm.asking import succeeding, succeeds
from harm.production import APP, CRM, OWNER, READER, SCRATCH, SHOP, Production
from projects.shop import Shop
from toolkit.database.errors import DatabaseError
from toolkit.database.folders import new_name
from toolkit.database.scratch import open_scratch
from toolkit.database.session import Session
from toolkit.database.urls import SCRATCH_VARIABLE

pytestmark = pytest.mark.any_sqlalchemy

# Of a server's rows, one has to be read, so that a refusal is no missing function.
POSTGRES = [
    f"DROP ROLE {READER}",
    f"DROP ROLE IF EXISTS {APP}",
    f"ALTER ROLE {APP} PASSWORD 'stolen'",
    f"ALTER ROLE {APP} SET work_mem = '9MB'",
    f"ALTER ROLE {APP} NOLOGIN",
    f"REVOKE {READER} FROM {APP}",
    f"GRANT {APP} TO CURRENT_USER",
    "GRANT pg_execute_server_program TO CURRENT_USER",
    f"SET ROLE {OWNER}",
    f"SET SESSION AUTHORIZATION {OWNER}",
    "ALTER ROLE CURRENT_USER SUPERUSER",
    "CREATE ROLE harm_new SUPERUSER LOGIN",
    "ALTER SYSTEM SET vacuum_cost_limit = 202",
    "SELECT pg_reload_conf()",
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'production'",
    f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{SHOP}'",
    f"DROP DATABASE {CRM}",
    f"DROP DATABASE {SHOP} WITH (FORCE)",
    f"ALTER DATABASE {SHOP} SET work_mem = '9MB'",
    f"ALTER DATABASE {SHOP} RENAME TO harm_gone",
    "CREATE DATABASE harm_new",
    "CREATE TABLESPACE harm_space LOCATION '/tmp'",
    "SELECT pg_create_physical_replication_slot('harm_slot')",
    "SELECT pg_create_logical_replication_slot('harm_slot', 'pgoutput')",
    "CREATE EXTENSION dblink",
    "CREATE EXTENSION postgres_fdw",
    "CREATE EXTENSION file_fdw",
    "COPY (SELECT 1) TO PROGRAM 'touch {temporary}/run'",
    "COPY (SELECT 1) TO '{temporary}/written'",
    "SELECT pg_read_file('postgresql.auto.conf')",
    "SELECT lo_export(lo_from_bytea(0, 'x'), '{temporary}/exported')",
    f"COMMENT ON ROLE {APP} IS 'x'",
    "LOAD 'plpgsql'",
]
MYSQL = [
    f"DROP TABLE {CRM}.log",
    f"DROP TABLE IF EXISTS {CRM}.calls",
    f"UPDATE {CRM}.calls SET note = 'x'",
    f"INSERT INTO {CRM}.log (line) VALUES ('x')",
    f"SELECT {CRM}.note('x')",
    f"TRUNCATE {CRM}.calls",
    f"CREATE TABLE {CRM}.more (id int)",
    "CREATE TABLE merged (id int, note varchar(90)) ENGINE=MERGE UNION=(" + CRM + ".archive)",
    f"ALTER DATABASE {CRM} CHARACTER SET latin1",
    f"DROP DATABASE {CRM}",
    "CREATE DATABASE harm_new",
    f"RENAME TABLE {CRM}.log TO taken",
    f"DROP USER {APP}@'%'",
    f"SET PASSWORD FOR {APP}@'%' = PASSWORD('x')",
    f"GRANT ALL ON *.* TO {APP}@'%'",
    "CREATE USER harm_new@'%'",
    "SET GLOBAL max_allowed_packet = 2097152",
    "SET GLOBAL general_log_file = '{temporary}/log'",
    "SELECT 1 INTO OUTFILE '{temporary}/written'",
    "KILL {session}",
    "FLUSH TABLES WITH READ LOCK",
    f"LOCK TABLES {CRM}.calls WRITE",
]


@pytest.fixture
def scratch_on_production(production: Production, monkeypatch: pytest.MonkeyPatch) -> None:
    """With all rights, as SCRATCH_DATABASE_URL often has."""
    monkeypatch.setenv(SCRATCH_VARIABLE, production.superuser_url)


@pytest.mark.dialects("postgresql", "mysql")
@pytest.mark.usefixtures("scratch_on_production")
def test_no_statement_reaches_production(
    production: Production, productions: dict[str, Any], dialect: str
) -> None:
    session = production_session(productions, dialect)
    with open_scratch(dialect, server_url=None) as scratch:
        statements = [
            template.format(temporary=production.temporary, session=session)
            for template in (POSTGRES if dialect == "postgresql" else MYSQL)
        ]
        reached = succeeding(scratch.url, statements)
    # A SELECT of sessions that it may not see returns no row, and is no harm.
    assert [one for one in reached if "pg_terminate_backend" not in one] == []
    assert production.harm() == []


HOSTILE = """
    with op.get_context().autocommit_block():
        for statement in {statements!r}:
            try:
                op.execute(sa.text(statement.replace(":", "\\\\:")))
            except Exception:
                pass
"""


@pytest.mark.dialects("postgresql", "mysql")
@pytest.mark.usefixtures("scratch_on_production")
def test_a_revision_with_all_of_it_harms_nothing(
    production: Production, productions: dict[str, Any], dialect: str, tmp_path: Path
) -> None:
    """Through the door, which proves it twice: swallowed errors are no way in either."""
    session = production_session(productions, dialect)
    templates = POSTGRES if dialect == "postgresql" else MYSQL
    statements = [
        template.format(temporary=production.temporary, session=session) for template in templates
    ]
    shop = Shop(tmp_path / "my shop")
    shop.add_revision("first", None, HOSTILE.format(statements=statements).strip())
    ended = shop.generate("users", url=production.superuser_url)
    assert ended.code == 0, ended.err
    assert "on the server 127.0.0.1" in ended.out
    assert production.harm() == []


def production_session(productions: dict[str, Any], dialect: str) -> int:
    session = productions[dialect].session
    return int(session.thread_id() if dialect == "mysql" else session.info.backend_pid)


@pytest.mark.dialects("postgresql", "mysql")
@pytest.mark.usefixtures("scratch_on_production")
def test_the_role_is_made_for_it_and_is_no_superuser(production: Production, dialect: str) -> None:
    given = make_url(production.superuser_url)
    with open_scratch(dialect, server_url=None) as scratch:
        assert scratch.url.username not in {given.username, OWNER, APP}
        assert scratch.url.password != given.password
        session = Session(scratch.url)
        try:
            if dialect == "postgresql":
                row = "rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls"
                (rights,) = session.run(f"SELECT {row} FROM pg_roles WHERE rolname = current_user")
                assert not any(rights)
                owner = "SELECT datdba = current_user::regrole FROM pg_database"
                owner += " WHERE datname = current_database()"
                assert session.run(owner)[0][0]
                other = "SELECT has_database_privilege('public', current_database(), 'CONNECT')"
                assert not session.run(other)[0][0]  # so nobody else's program comes in
            else:
                seen = {str(name) for (name,) in session.run("SHOW DATABASES")}
                assert seen == {scratch.url.database, "information_schema"}
        finally:
            session.close()
    assert production.harm() == []


@pytest.mark.dialects("postgresql", "mysql")
def test_a_role_that_can_make_none_is_refused(
    production: Production, dialect: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It owns production, or may do more than a proof; a role for scratches alone is used."""
    monkeypatch.setenv(SCRATCH_VARIABLE, production.app_url)
    with pytest.raises(DatabaseError) as caught, open_scratch(dialect, server_url=None):
        pass
    words = str(caught.value)
    assert "rights that a proof must not have" in words
    assert READER in words if dialect == "postgresql" else SHOP in words
    assert str(make_url(production.app_url).password) not in words


ALONE = {
    "postgresql": ("CREATE ROLE harm_alone LOGIN CREATEDB PASSWORD 'alone-1'",),
    "mysql": (
        "CREATE USER harm_alone@'%' IDENTIFIED BY 'alone-1'",
        r"GRANT ALL ON `alembic\_scratch\_%`.* TO harm_alone@'%'",
    ),
}


@pytest.mark.dialects("postgresql", "mysql")
def test_a_role_for_scratches_alone_is_used_as_it_is(
    production: Production,
    productions: dict[str, Any],
    dialect: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    url = make_url(production.url).set(username="harm_alone", password="alone-1")
    run(productions, dialect, *ALONE[dialect])
    try:
        monkeypatch.setenv(SCRATCH_VARIABLE, url.render_as_string(hide_password=False))
        with open_scratch(dialect, server_url=None) as scratch:
            assert scratch.url.username == "harm_alone"
            assert succeeds(scratch.url, "CREATE TABLE t (x integer)")
            with scratch.another() as second:
                assert succeeds(second, "CREATE TABLE t (x integer)")
    finally:
        host = "@'%'" if dialect == "mysql" else ""
        kind = "USER" if dialect == "mysql" else "ROLE"
        run(productions, dialect, f"DROP {kind} harm_alone{host}")
    assert production.harm() == []


def run(productions: dict[str, Any], dialect: str, *statements: str) -> None:
    """As the administrator of production's server."""
    if dialect == "mysql":
        productions[dialect].run(statements)
        return
    with productions[dialect].connect(SHOP) as connection:
        for statement in statements:
            connection.execute(statement)


BY_OTHERS = {
    "postgresql": [
        (f"ALTER ROLE {APP} PASSWORD 'x'", f"the role {APP} has changed"),
        (f"ALTER ROLE {APP} RESET ALL", f"the settings of {APP} is gone"),
        (f"REVOKE {READER} FROM {APP}", f"the membership of {APP} in {READER} is gone"),
        ("DROP TABLE audit.log", "the relation audit.log is gone"),
        ("SELECT pg_drop_replication_slot('harm')", "the replication slot harm is gone"),
        (f"DROP DATABASE {CRM} WITH (FORCE)", f"the database {CRM} is gone"),
    ],
    "mysql": [
        (f"DROP TABLE {CRM}.log", f"the table {CRM}.log is gone"),
        (f"DROP FUNCTION {CRM}.note", f"the routine {CRM}.note is gone"),
        (f"REVOKE PROCESS ON *.* FROM {OWNER}@'%'", "to PROCESS is gone"),
        (f"REVOKE SELECT ON {CRM}.* FROM {APP}@'%'", f"to SELECT on {CRM} is gone"),
        (f"DROP DATABASE {CRM}", f"the schema {CRM} is gone"),
    ],
}


@pytest.mark.dialects("postgresql", "mysql")
@pytest.mark.usefixtures("scratch_on_production")
def test_what_is_not_as_before_is_an_internal_error(
    production: Production, productions: dict[str, Any], dialect: str
) -> None:
    """Here somebody else does it, since the proof's role can not: what counts is that it is seen,
    also where the proof itself failed."""
    if dialect == "postgresql":
        run(productions, dialect, "SELECT pg_create_physical_replication_slot('harm')")
    for number, (statement, said) in enumerate(BY_OTHERS[dialect]):
        with pytest.raises(DatabaseError) as caught, open_scratch(dialect, server_url=None):
            run(productions, dialect, statement)
            if number % 2:
                raise ValueError("the proof failed")
        problem = caught.value.problem
        assert "INTERNAL ERROR: THE SERVER" in problem.message
        assert said in problem.message
        assert problem.exit_code == 1
    productions[dialect].make()
    productions[dialect].prepare()
    production.before = production.fingerprint()


@pytest.mark.dialects("postgresql", "mysql")
def test_what_can_not_be_dropped_is_said_with_the_command(
    production: Production,
    productions: dict[str, Any],
    dialect: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv(SCRATCH_VARIABLE, production.url)
    # On MySQL its rights are taken away meanwhile, which is a difference as well.
    differs = pytest.raises(DatabaseError) if dialect == "mysql" else contextlib.nullcontext()
    with differs, open_scratch(dialect, server_url=None) as scratch:
        if dialect == "postgresql":
            run(productions, dialect, f'ALTER DATABASE "{scratch.url.database}" OWNER TO postgres')
        else:
            run(productions, dialect, f"REVOKE ALL ON *.* FROM {OWNER}@'%'", f"KILL USER {OWNER}")
    said = capsys.readouterr().err
    assert "LEFT BEHIND" in said
    assert str(scratch.url.database) in said
    assert str(make_url(production.url).password) not in said
    assert production.harm() != []
    # What was printed, as an administrator runs it.
    run(productions, dialect, *said.strip().rpartition("run there: ")[2].split("; "))
    if dialect == "mysql":
        run(productions, dialect, f"GRANT ALL ON *.* TO {OWNER}@'%' WITH GRANT OPTION")
    assert production.harm() == []


@pytest.mark.dialects("postgresql", "mysql")
@pytest.mark.usefixtures("scratch_on_production")
def test_hosts_of_one_name_leave_each_other_alone(
    production: Production, dialect: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No process of the other's is to be seen from here, and every host has the same name."""
    monkeypatch.setattr("os.kill", no_such_process)
    monkeypatch.setattr("socket.gethostname", lambda: "localhost")
    with open_scratch(dialect, server_url=None) as one:
        with open_scratch(dialect, server_url=None) as other:
            assert succeeds(one.url, "CREATE TABLE t (x integer)")
            assert succeeds(other.url, "CREATE TABLE t (x integer)")
        assert succeeds(one.url, "SELECT x FROM t")
    assert production.harm() == []


def no_such_process(_pid: int, _signal: int) -> None:
    raise ProcessLookupError


@pytest.mark.dialects("postgresql", "mysql")
@pytest.mark.usefixtures("scratch_on_production")
def test_a_database_that_only_looks_like_a_scratch_is_not_swept(
    production: Production, productions: dict[str, Any], dialect: str
) -> None:
    """Of the form, but of another owner; of the owner, but of another form."""
    formed, others = f"{SCRATCH}0011223344556677", [f"{SCRATCH}prod", f"{SCRATCH}1_2_3"]
    owner = f" OWNER {OWNER}" if dialect == "postgresql" else ""
    run(productions, dialect, f"CREATE DATABASE {formed}{owner}")
    run(productions, dialect, *(f"CREATE DATABASE {name}" for name in others))
    try:
        with open_scratch(dialect, server_url=None):
            pass
        there = set(production.fingerprint())
        assert {f"database {name}" for name in (formed, *others)} <= there
    finally:
        run(productions, dialect, *(f"DROP DATABASE {name}" for name in (formed, *others)))


def test_scratches_have_no_name_of_a_host_or_a_process() -> None:
    names = {new_name() for _ in range(100)}
    assert len(names) == 100
    assert all(re.fullmatch("alembic_scratch_[0-9a-f]{16}", name) for name in names)
    assert all(len(name) <= 32 for name in names), "MySQL allows a user no more"
