"""A *production* for each kind of database, and a fingerprint of all that could be harmed.

It has what a real one has and a test's database has not: several databases or schemas, rows
in all of them, roles with passwords, memberships and settings, a session of the application.
The fixture `production` compares before and after each test by itself, so a test only does
the harm:

    @pytest.mark.dialects("mysql")
    def test_tables_of_another_schema(production: Production, tmp_path: Path) -> None:
        setup(project, url=production.url)
        assert production.harm() == []

What differs in two fingerprints is told in words: `gone: table harm_crm.calls`.
"""

import contextlib
import hashlib
import sqlite3
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pymysql
from sqlalchemy.engine import URL, make_url

from servers.mysql import MySQLServer, offers_tls
from servers.postgres import PostgresServer

Fingerprint = dict[str, str]
"""What it is, in words (`role harm_app`), and its state."""

SHOP, CRM = "harm_shop", "harm_crm"
"""The application's own database and its neighbour: on MySQL a schema, on SQLite a file."""
OWNER, APP, READER = "harm_owner", "harm_app", "harm_reader"
OWNER_PASSWORD = "0wner/s&cret"
APP_PASSWORD = "app:s3cret#"
SCRATCH = "alembic_scratch_"
SECRETS = (OWNER_PASSWORD, APP_PASSWORD)


@dataclass
class Production:
    """One database in use."""

    dialect: str
    url: str
    """As the project of a careless team has it: its role may make databases and roles."""
    superuser_url: str
    """With all rights; the same as `url` on SQLite."""
    app_url: str
    """With rights on the application's own data only; the same as `url` on SQLite."""
    look: Callable[[], Fingerprint]
    temporary: Path
    """TMPDIR of the test: what is left there is harm, too."""
    before: Fingerprint = field(default_factory=dict)
    folder: Path | None = None
    """Of SQLite's files."""

    def fingerprint(self) -> Fingerprint:
        left = {f"file {path}": "" for path in self.temporary.rglob("*")}
        return {**self.look(), **left}

    def harm(self) -> list[str]:
        """What is not as it was when the test began; empty is good.

        Scratches that were there are of killed runs, and to sweep them is no harm.
        """
        found = differences(self.before, self.fingerprint())
        return [one for one in found if not (one.startswith("gone: ") and SCRATCH in one)]


def differences(before: Fingerprint, after: Fingerprint) -> list[str]:
    found = [f"gone: {name}" for name in before if name not in after]
    found += [f"new: {name}" for name in after if name not in before]
    found += [
        f"changed: {name}: {before[name]} -> {after[name]}"
        for name in before
        if name in after and before[name] != after[name]
    ]
    return sorted(found)


# --- PostgreSQL ---

POSTGRES_SERVER = (
    f"CREATE ROLE {OWNER} LOGIN CREATEDB CREATEROLE PASSWORD '{OWNER_PASSWORD}'",
    f"CREATE ROLE {READER} NOLOGIN",
    f"CREATE ROLE {APP} LOGIN PASSWORD '{APP_PASSWORD}' CONNECTION LIMIT 20 IN ROLE {READER}",
    f"CREATE DATABASE {SHOP} OWNER {OWNER}",
    f"CREATE DATABASE {CRM} OWNER {OWNER}",
    f"ALTER ROLE {APP} SET statement_timeout = '30s'",
    f"ALTER ROLE {APP} IN DATABASE {SHOP} SET search_path = public, billing",
    f"ALTER DATABASE {SHOP} SET work_mem = '5MB'",
    f"COMMENT ON ROLE {APP} IS 'the application'",
    "ALTER SYSTEM SET vacuum_cost_limit = 201",
)
POSTGRES_SHOP = f"""
CREATE SCHEMA billing AUTHORIZATION {OWNER};
CREATE SCHEMA audit AUTHORIZATION {OWNER};
CREATE TABLE customers (id serial PRIMARY KEY, email text UNIQUE, name text);
CREATE TABLE billing.invoices (id serial PRIMARY KEY, customer int REFERENCES customers, cents int);
CREATE TABLE audit.log (at int, line text);
INSERT INTO customers (email, name) SELECT 'c' || n || '@example.org', 'C' || n
    FROM generate_series(1, 50) n;
INSERT INTO billing.invoices (customer, cents) SELECT id, id * 100 FROM customers;
INSERT INTO audit.log VALUES (1, 'opened');
ALTER TABLE customers OWNER TO {OWNER};
ALTER TABLE billing.invoices OWNER TO {OWNER};
ALTER TABLE audit.log OWNER TO {OWNER};
CREATE FUNCTION audit.note(line text) RETURNS int LANGUAGE sql
    AS 'INSERT INTO audit.log VALUES (2, line) RETURNING at';
GRANT USAGE ON SCHEMA billing TO {READER};
GRANT SELECT ON ALL TABLES IN SCHEMA public, billing TO {READER};
ALTER TABLE customers ENABLE ROW LEVEL SECURITY;
CREATE POLICY everyone ON customers TO {READER} USING (true);
"""
POSTGRES_CRM = f"""
CREATE TABLE calls (id serial PRIMARY KEY, note text);
INSERT INTO calls (note) SELECT 'call ' || n FROM generate_series(1, 20) n;
ALTER TABLE calls OWNER TO {OWNER};
"""
# Each row: what it is, its state.
POSTGRES_LOOK_SERVER = """
SELECT 'database ' || datname, concat_ws(' ', oid, datdba, datacl::text, datconnlimit,
    datallowconn, datistemplate, dattablespace) FROM pg_database
UNION ALL SELECT 'role ' || rolname, to_jsonb(r)::text FROM pg_authid r
UNION ALL SELECT 'membership ' || roleid::regrole || ' of ' || member::regrole, to_jsonb(m)::text
    FROM pg_auth_members m
UNION ALL SELECT 'settings of ' || setrole || ' in ' || setdatabase, setconfig::text
    FROM pg_db_role_setting
UNION ALL SELECT 'tablespace ' || spcname, concat_ws(' ', oid, spcowner, spcacl::text)
    FROM pg_tablespace
UNION ALL SELECT 'replication slot ' || slot_name, slot_type FROM pg_replication_slots
UNION ALL SELECT 'subscription ' || subname, subconninfo FROM pg_subscription
UNION ALL SELECT 'prepared transaction ' || gid, database FROM pg_prepared_xacts
UNION ALL SELECT 'setting ' || name, concat_ws(' ', setting, sourcefile)
    FROM pg_file_settings WHERE sourcefile LIKE '%%auto.conf'
UNION ALL SELECT 'comment on ' || objoid || ' in ' || classoid::regclass, description
    FROM pg_shdescription
UNION ALL SELECT 'session ' || application_name || ' ' || pid, datname
    FROM pg_stat_activity WHERE application_name = 'production'
"""
POSTGRES_LOOK_DATABASE = """
SELECT 'schema ' || nspname, concat_ws(' ', oid, nspowner, nspacl::text) FROM pg_namespace
    WHERE nspname NOT LIKE 'pg\\_temp%%' AND nspname NOT LIKE 'pg\\_toast%%'
UNION ALL SELECT 'relation ' || c.oid::regclass, concat_ws(' ', c.oid, relkind, relowner,
    relacl::text, relrowsecurity, relfilenode, (SELECT md5(string_agg(concat_ws(' ', attname,
    atttypid, atttypmod, attnotnull, attisdropped, attacl::text), ',' ORDER BY attnum))
    FROM pg_attribute WHERE attrelid = c.oid))
    FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
    WHERE nspname NOT LIKE 'pg\\_%%' AND nspname <> 'information_schema'
UNION ALL SELECT 'constraint ' || conname || ' ' || conrelid::regclass, pg_get_constraintdef(oid)
    FROM pg_constraint WHERE oid >= 16384
UNION ALL SELECT 'trigger ' || tgname || ' ' || tgrelid::regclass, tgenabled::text FROM pg_trigger
UNION ALL SELECT 'policy ' || polname, polroles::text FROM pg_policy
UNION ALL SELECT 'function ' || oid::regprocedure, md5(prosrc) || coalesce(proacl::text, '')
    FROM pg_proc WHERE oid >= 16384
UNION ALL SELECT 'extension ' || extname, extversion FROM pg_extension
UNION ALL SELECT 'publication ' || pubname, oid::text FROM pg_publication
UNION ALL SELECT 'foreign server ' || srvname, srvoptions::text FROM pg_foreign_server
UNION ALL SELECT 'large object ' || oid, lomowner::text FROM pg_largeobject_metadata
UNION ALL SELECT 'writes to ' || relid::regclass, concat_ws(' ', n_tup_ins, n_tup_upd, n_tup_del)
    FROM pg_stat_user_tables
"""


class PostgresProduction:
    """Made once for a server, made anew where a test harmed it."""

    def __init__(self, server: PostgresServer) -> None:
        self.server = server
        self.session: psycopg.Connection[Any] | None = None

    def connect(self, database: str, **more: Any) -> "psycopg.Connection[Any]":
        admin = self.server.admin
        return psycopg.connect(
            host=admin.host,
            port=admin.port,
            user=admin.username,
            password=str(admin.password or ""),
            dbname=database,
            autocommit=True,
            **more,
        )

    def make(self) -> None:
        self.remove()
        with self.connect("postgres") as connection:
            for statement in POSTGRES_SERVER:
                connection.execute(statement)
        for database, script in ((SHOP, POSTGRES_SHOP), (CRM, POSTGRES_CRM)):
            with self.connect(database) as connection:
                connection.execute("SET client_min_messages = error")
                connection.execute(script)
                connection.execute("CREATE PUBLICATION harm_changes FOR ALL TABLES")

    def remove(self) -> None:
        """All that is called harm_..., also what a test has added."""
        self.end_session()
        with self.connect("postgres") as connection:
            for statement in (
                "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots"
                " WHERE slot_name ~ '^harm_'",
                "ALTER SYSTEM RESET vacuum_cost_limit",
            ):
                connection.execute(statement)
            for kind, names in (
                ("DATABASE", "SELECT datname FROM pg_database WHERE datname ~ '^harm_'"),
                ("ROLE", "SELECT rolname FROM pg_roles WHERE rolname ~ '^harm_'"),
            ):
                force = " WITH (FORCE)" if kind == "DATABASE" else ""
                for (name,) in connection.execute(names).fetchall():
                    connection.execute(f"DROP {kind} {name}{force}")

    def end_session(self) -> None:
        if self.session is not None:
            with contextlib.suppress(psycopg.Error):
                self.session.close()
            self.session = None

    def prepare(self) -> None:
        """Have the application's session in place."""
        if self.session is not None:
            try:
                self.session.execute("SELECT 1")
            except psycopg.Error:
                self.end_session()
        if self.session is None:
            self.session = self.connect(SHOP, application_name="production")

    def url(self, user: str, password: str) -> str:
        made = make_url(self.server.url(SHOP)).set(username=user, password=password)
        return made.render_as_string(hide_password=False)

    def look(self) -> Fingerprint:
        found: Fingerprint = {}
        with self.connect("postgres") as connection:
            found |= dict(connection.execute(POSTGRES_LOOK_SERVER).fetchall())
        for database in ("postgres", SHOP, CRM):
            if f"database {database}" not in found:
                continue
            with self.connect(database) as connection:
                rows = dict(connection.execute(POSTGRES_LOOK_DATABASE).fetchall())
                tables = [
                    name.removeprefix("relation ")
                    for name, state in rows.items()
                    if name.startswith("relation ") and state.split()[1] == "r"
                ]
                if tables:
                    select = " UNION ALL ".join(
                        f"SELECT 'rows of {table}', md5(string_agg(t::text, ',' ORDER BY t::text))"
                        f" FROM {table} t"
                        for table in tables
                    )
                    rows |= dict(connection.execute(select).fetchall())
            found |= {f"{name} in {database}": str(state) for name, state in rows.items()}
        return {name: str(state) for name, state in found.items()}


# --- MySQL, MariaDB ---

MYSQL_SCRIPT = (
    f"CREATE DATABASE {SHOP} CHARACTER SET utf8mb4",
    f"CREATE DATABASE {CRM} CHARACTER SET utf8mb4",
    f"CREATE USER {OWNER}@'%' IDENTIFIED BY '{OWNER_PASSWORD}'",
    f"CREATE USER {APP}@'%' IDENTIFIED BY '{APP_PASSWORD}' WITH MAX_USER_CONNECTIONS 20",
    f"GRANT ALL ON *.* TO {OWNER}@'%' WITH GRANT OPTION",
    f"GRANT ALL ON {SHOP}.* TO {APP}@'%'",
    f"GRANT SELECT, EXECUTE ON {CRM}.* TO {APP}@'%'",
    f"CREATE TABLE {SHOP}.customers (id int AUTO_INCREMENT PRIMARY KEY, email varchar(90) UNIQUE,"
    " name varchar(90))",
    f"INSERT INTO {SHOP}.customers (email, name) SELECT CONCAT('c', help_topic_id), name"
    " FROM mysql.help_topic LIMIT 50",
    f"INSERT INTO {SHOP}.customers (email, name) VALUES ('ada@example.org', 'Ada')",
    f"CREATE TABLE {CRM}.calls (id int AUTO_INCREMENT PRIMARY KEY, note varchar(90))",
    f"INSERT INTO {CRM}.calls (note) VALUES ('first'), ('second'), ('third')",
    f"CREATE TABLE {CRM}.log (id int AUTO_INCREMENT PRIMARY KEY, line varchar(90))",
    f"CREATE TABLE {CRM}.archive (id int PRIMARY KEY, note varchar(90)) ENGINE=MyISAM",
    f"INSERT INTO {CRM}.archive VALUES (1, 'old')",
    f"CREATE TABLE {SHOP}.everything (id int PRIMARY KEY, note varchar(90))"
    f" ENGINE=MERGE UNION=({CRM}.archive) INSERT_METHOD=LAST",
    f"CREATE FUNCTION {CRM}.note(line varchar(90)) RETURNS int MODIFIES SQL DATA"
    f" BEGIN INSERT INTO {CRM}.log (line) VALUES (line); RETURN 1; END",
    f"CREATE VIEW {CRM}.recent AS SELECT id, note FROM {CRM}.calls WHERE id > 1",
)
MYSQL_SYSTEM = "('mysql', 'information_schema', 'performance_schema', 'sys')"
MYSQL_LOOK = (
    "SELECT CONCAT('database ', schema_name), CONCAT_WS(' ', default_character_set_name,"
    " default_collation_name) FROM information_schema.schemata",
    "SELECT CONCAT('table ', table_schema, '.', table_name), CONCAT_WS(' ', table_type, engine,"
    " create_time, table_comment) FROM information_schema.tables"
    f" WHERE table_schema NOT IN {MYSQL_SYSTEM}",
    "SELECT CONCAT('column ', table_schema, '.', table_name, '.', column_name), CONCAT_WS(' ',"
    " ordinal_position, column_type, is_nullable, column_key, column_default, extra)"
    f" FROM information_schema.columns WHERE table_schema NOT IN {MYSQL_SYSTEM}",
    "SELECT CONCAT('routine ', routine_schema, '.', routine_name), MD5(routine_definition)"
    f" FROM information_schema.routines WHERE routine_schema NOT IN {MYSQL_SYSTEM}",
    "SELECT CONCAT('trigger ', trigger_schema, '.', trigger_name), MD5(action_statement)"
    " FROM information_schema.triggers",
    "SELECT CONCAT('event ', event_schema, '.', event_name), MD5(event_definition)"
    " FROM information_schema.events",
    "SELECT CONCAT('rights of ', grantee, ' ', privilege_type), is_grantable"
    " FROM information_schema.user_privileges",
    "SELECT CONCAT('rights of ', grantee, ' ', privilege_type, ' on ', table_schema), is_grantable"
    " FROM information_schema.schema_privileges",
    "SELECT CONCAT('user ', user, '@', host), CONCAT_WS(' ', MD5(authentication_string), plugin,"
    " max_user_connections) FROM mysql.user",
    f"SELECT CONCAT('session ', id), user FROM information_schema.processlist WHERE user = '{APP}'",
    "SHOW GLOBAL VARIABLES",
)
MYSQL_MOVES = ("gtid_", "innodb_buffer_pool_dump", "timestamp", "rand_seed", "error_count")


class MySQLProduction:
    """Made once for a server, made anew where a test harmed it."""

    def __init__(self, server: MySQLServer) -> None:
        self.server = server
        self.session: Any = None

    def connect(self, **more: Any) -> Any:
        admin = self.server.admin
        given = {"user": admin.username, "password": str(admin.password or ""), **more}
        return pymysql.connect(
            host=admin.host,
            port=admin.port or 3306,
            autocommit=True,
            connect_timeout=10,
            ssl_disabled=not offers_tls(admin),
            **given,
        )

    def make(self) -> None:
        self.remove()
        self.run(MYSQL_SCRIPT)

    def remove(self) -> None:
        """All that is called harm_..., also what a test has added."""
        self.end_session()
        with contextlib.closing(self.connect()) as connection, connection.cursor() as cursor:
            for kind, names in (
                ("DATABASE `{}`", "SELECT schema_name FROM information_schema.schemata"),
                ("USER '{}'@'%'", "SELECT DISTINCT user FROM mysql.user WHERE host = '%'"),
            ):
                cursor.execute(names)
                for (name,) in cursor.fetchall():
                    if name.startswith("harm_"):
                        cursor.execute(f"DROP {kind.format(name)}")

    def run(self, statements: Any) -> None:
        with contextlib.closing(self.connect()) as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)

    def end_session(self) -> None:
        if self.session is not None:
            with contextlib.suppress(pymysql.Error, OSError):
                self.session.close()
            self.session = None

    def prepare(self) -> None:
        """Have the application's session in place."""
        if self.session is not None:
            try:
                self.session.ping(reconnect=False)
            except (pymysql.Error, OSError):
                self.end_session()
        if self.session is None:
            self.session = self.connect(user=APP, password=APP_PASSWORD, database=SHOP)

    def url(self, user: str, password: str) -> str:
        made = make_url(self.server.url(SHOP)).set(username=user, password=password)
        return made.render_as_string(hide_password=False)

    def look(self) -> Fingerprint:
        found: Fingerprint = {}
        with contextlib.closing(self.connect()) as connection, connection.cursor() as cursor:
            for statement in MYSQL_LOOK:
                cursor.execute(statement)
                found |= {str(name): str(state) for name, state in cursor.fetchall()}
            tables = [
                name.removeprefix("table ")
                for name, state in found.items()
                if name.startswith(f"table {SHOP}.") or name.startswith(f"table {CRM}.")
                if state.startswith("BASE")
            ]
            if tables:
                cursor.execute(f"CHECKSUM TABLE {', '.join(tables)}")
                found |= {f"rows of {name}": str(state) for name, state in cursor.fetchall()}
        return {
            name: state for name, state in found.items() if not name.lower().startswith(MYSQL_MOVES)
        }


# --- SQLite ---


class SQLiteProduction:
    """Two files with WAL, of which one is attached by the application, and its session."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        for name in (SHOP, CRM):
            with contextlib.closing(sqlite3.connect(folder / f"{name}.db")) as connection:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.executescript(
                    "CREATE TABLE customers (id integer PRIMARY KEY, email text UNIQUE, name text);"
                    "INSERT INTO customers VALUES (1, 'ada@example.org', 'Ada'), (2, 'b', 'Bob');"
                    "CREATE TABLE calls (id integer PRIMARY KEY, note text);"
                    "INSERT INTO calls (note) VALUES ('first'), ('second');"
                )
        self.session = sqlite3.connect(folder / f"{SHOP}.db")
        self.session.execute("ATTACH DATABASE ? AS crm", (str(folder / f"{CRM}.db"),))
        # Committed, and in the WAL only as long as the session lives.
        self.session.execute("INSERT INTO customers VALUES (3, 'c', 'Cleo')")
        self.session.execute("INSERT INTO crm.calls (note) VALUES ('third')")
        self.session.commit()

    @property
    def url(self) -> str:
        return f"sqlite+aiosqlite:///{self.folder / SHOP}.db"

    def look(self) -> Fingerprint:
        """Hashes of all files; readers change the shared memory, which is none of the data."""
        return {
            f"file {path.name}": "there"
            if path.name.endswith("-shm")
            else f"{path.stat().st_mode:o} {hashlib.sha256(path.read_bytes()).hexdigest()}"
            for path in self.folder.iterdir()
        }


# --- what is not in the database ---


def processes_of(marker: str) -> set[str]:
    """Command lines that hold `marker` (a folder of the test), without this one's."""
    listed = subprocess.run(["ps", "-eo", "pid=,args="], capture_output=True, text=True, check=True)
    return {line.strip() for line in listed.stdout.splitlines() if marker in line}


@contextlib.contextmanager
def production_of(
    dialect: str, temporary: Path, folder: Path, servers: "Mapping[str, Any]"
) -> Iterator[Production]:
    """The production of this dialect, as it is now; `servers` keeps those of servers."""
    if dialect == "sqlite":
        files = SQLiteProduction(folder)
        with contextlib.closing(files.session):
            yield compared(
                Production(
                    dialect, files.url, files.url, files.url, files.look, temporary, folder=folder
                )
            )
        return
    made = servers[dialect]
    made.prepare()
    admin: URL = made.server.admin
    yield compared(
        Production(
            dialect,
            made.url(OWNER, OWNER_PASSWORD),
            made.url(str(admin.username), str(admin.password or "")),
            made.url(APP, APP_PASSWORD),
            made.look,
            temporary,
        )
    )


def compared(production: Production) -> Production:
    production.before = production.fingerprint()
    return production
