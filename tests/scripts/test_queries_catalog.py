"""What catalogs show, on databases with faults and with look-alikes of each that are sound.

Each expectation is the whole list of a rule's findings: what is not in it was not accused.
"""

import sqlite3
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError

from servers import mysql, postgres
from toolkit.database.connecting import on_connection
from toolkit.database.urls import kind_of
from toolkit.project import read_project
from toolkit.queries.catalog import CatalogReport, locate, read_findings
from toolkit.queries.catalog.reading import begin_reading
from toolkit.queries.finding import Confidence, QueryFinding

ROWS = "SELECT g, g, g FROM generate_series(1, 2000) g"
FOREIGN_KEYS = f"""
CREATE TABLE parent (id int PRIMARY KEY, a int, b int, UNIQUE (a, b))
INSERT INTO parent {ROWS}
CREATE TABLE fk_plain (id int PRIMARY KEY, parent_id int REFERENCES parent ON DELETE CASCADE, x int)
CREATE TABLE fk_tiny (id int PRIMARY KEY, parent_id int REFERENCES parent, x int)
CREATE TABLE fk_second (id int PRIMARY KEY, parent_id int REFERENCES parent, x int)
CREATE INDEX ON fk_second (x, parent_id)
CREATE TABLE fk_partial (id int PRIMARY KEY, parent_id int REFERENCES parent, x int)
CREATE INDEX ON fk_partial (parent_id) WHERE x > 0
CREATE TABLE fk_expression (id int PRIMARY KEY, parent_id int REFERENCES parent, x int)
CREATE INDEX ON fk_expression (abs(parent_id))
CREATE TABLE fk_gist (id int PRIMARY KEY, parent_id int REFERENCES parent, x int)
CREATE INDEX ON fk_gist USING brin (parent_id)
CREATE TABLE fk_broken (id int PRIMARY KEY, parent_id int REFERENCES parent, x int)
CREATE TABLE link (a_id int REFERENCES parent, b_id int REFERENCES parent, PRIMARY KEY (a_id, b_id))
CREATE TABLE ok_index (id int PRIMARY KEY, parent_id int REFERENCES parent, x int)
CREATE INDEX ON ok_index (parent_id)
CREATE TABLE ok_composite (id int PRIMARY KEY, parent_id int REFERENCES parent, x int)
CREATE INDEX ON ok_composite (parent_id DESC, x)
CREATE TABLE ok_not_null (id int PRIMARY KEY, parent_id int REFERENCES parent, x int)
CREATE INDEX ON ok_not_null (parent_id) WHERE parent_id IS NOT NULL
CREATE TABLE ok_unique (id int PRIMARY KEY, parent_id int UNIQUE REFERENCES parent, x int)
CREATE TABLE ok_hash (id int PRIMARY KEY, parent_id int REFERENCES parent, x int)
CREATE INDEX ON ok_hash USING hash (parent_id)
CREATE TABLE ok_pair (id int, b int, a int, FOREIGN KEY (a, b) REFERENCES parent (a, b))
ALTER TABLE ok_pair ADD PRIMARY KEY (b, a, id)
CREATE TABLE ok_parts (id int, parent_id int REFERENCES parent, x int) PARTITION BY RANGE (id)
CREATE TABLE ok_part_1 PARTITION OF ok_parts FOR VALUES FROM (0) TO (5000)
CREATE INDEX ON ok_parts (parent_id)
ALTER TABLE ok_parts ADD PRIMARY KEY (id)
CREATE TABLE fk_parts (id int PRIMARY KEY, parent_id int REFERENCES parent, x int)
    PARTITION BY RANGE (id)
CREATE TABLE fk_part_1 PARTITION OF fk_parts FOR VALUES FROM (0) TO (5000)
INSERT INTO fk_tiny VALUES (1, 1, 1)
INSERT INTO link SELECT g, g FROM generate_series(1, 2000) g
"""
PARTITIONED = ("fk_parts", "ok_parts")
FILLED = ("fk_plain", "fk_second", "fk_partial", "fk_expression", "fk_gist", "fk_broken")
FILLED += ("ok_index", "ok_composite", "ok_not_null", "ok_unique", "ok_hash", "ok_pair")
# A name that ends with _bad is superfluous; the others only look like it.
INDEXES = """
CREATE TABLE d (id int PRIMARY KEY, a int, b int, c int, f text, g text, h int, i int, j int)
CREATE INDEX d_id_bad ON d (id)
CREATE INDEX d_a ON d (a)
CREATE INDEX d_a_bad ON d (a)
CREATE INDEX d_b_bad ON d (b)
CREATE INDEX d_bc ON d (b, c)
CREATE INDEX d_c ON d (c)
CREATE UNIQUE INDEX d_unique ON d (h)
CREATE INDEX d_unique_more ON d (h, a)
CREATE INDEX d_h_bad ON d (h)
CREATE INDEX d_a_part ON d (a) WHERE a > 0
CREATE INDEX d_a_part_bad ON d (a) WHERE a > 0
CREATE INDEX d_a_part_2 ON d (a) WHERE a > 1
CREATE INDEX d_f ON d (f)
CREATE INDEX d_f_pattern ON d (f text_pattern_ops)
CREATE INDEX d_f_c ON d (f COLLATE "C")
CREATE INDEX d_f_desc ON d (f DESC)
CREATE INDEX d_lower_bad ON d (lower(f))
CREATE INDEX d_lower_more ON d (lower(f), a)
CREATE INDEX d_upper ON d (upper(f))
CREATE INDEX d_a_hash ON d USING hash (a)
CREATE INDEX d_i ON d (i) INCLUDE (j)
CREATE INDEX d_i_other ON d (i) INCLUDE (a)
CREATE INDEX d_i_bad ON d (i)
CREATE INDEX d_g_gin ON d USING gin (to_tsvector('english', g))
CREATE INDEX d_g_gin_2 ON d USING gin (to_tsvector('english', g), to_tsvector('english', f))
CREATE INDEX d_broken ON d (a, h)
UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'd_broken'::regclass
CREATE TABLE replicated (id int NOT NULL, a int)
CREATE UNIQUE INDEX replicated_id ON replicated (id)
CREATE UNIQUE INDEX replicated_id_2 ON replicated (id)
"""
STATE = """
CREATE TABLE keyless (a int)
CREATE TABLE keyed_by_null (a int UNIQUE)
CREATE TABLE checked (id int PRIMARY KEY, a int)
ALTER TABLE checked ADD CONSTRAINT checked_a CHECK (a > 0) NOT VALID
ALTER TABLE checked ADD CONSTRAINT checked_fk FOREIGN KEY (id) REFERENCES parent NOT VALID
ALTER TABLE checked ADD CONSTRAINT checked_fine CHECK (a > 1) NOT VALID
ALTER TABLE checked VALIDATE CONSTRAINT checked_fine
CREATE TABLE short_ids (id smallserial PRIMARY KEY)
SELECT setval('short_ids_id_seq', 30000)
CREATE TABLE small_sequence (id bigint PRIMARY KEY)
CREATE SEQUENCE small_sequence_id AS smallint OWNED BY small_sequence.id
SELECT setval('small_sequence_id', 30000)
CREATE TABLE long_ids (id bigserial PRIMARY KEY)
SELECT setval('long_ids_id_seq', 2000000000)
CREATE TABLE half_ids (id smallint GENERATED ALWAYS AS IDENTITY PRIMARY KEY)
SELECT setval('half_ids_id_seq', 16000)
CREATE TABLE dead (id int PRIMARY KEY) WITH (autovacuum_enabled = false)
INSERT INTO dead SELECT g FROM generate_series(1, 20000) g
CREATE TABLE hot (id int PRIMARY KEY, a int)
INSERT INTO hot SELECT g, g FROM generate_series(1, 12000) g
CREATE TABLE cool (id int PRIMARY KEY, a int)
INSERT INTO cool SELECT g, g FROM generate_series(1, 12000) g
CREATE TABLE used (id int PRIMARY KEY, a int, b int, parent_id int REFERENCES parent, u int UNIQUE)
CREATE INDEX used_a ON used (a)
CREATE INDEX used_b_idle ON used (b)
CREATE INDEX used_parent ON used (parent_id)
INSERT INTO used SELECT g, g, g, g, g FROM generate_series(1, 2000) g
CREATE SCHEMA "Other"
CREATE TABLE "Other"."Order" (id int PRIMARY KEY, "Parent" int REFERENCES parent)
INSERT INTO "Other"."Order" SELECT g, g FROM generate_series(1, 2000) g
ANALYZE
CREATE TABLE not_analysed (id int PRIMARY KEY) WITH (autovacuum_enabled = false)
INSERT INTO not_analysed SELECT g FROM generate_series(1, 2000) g
DELETE FROM dead WHERE id <= 15000
DO 'BEGIN FOR i IN 1..120 LOOP PERFORM count(*) FROM hot; END LOOP; END'
DO 'BEGIN FOR i IN 1..20 LOOP PERFORM count(*) FROM cool; END LOOP; END'
DO 'BEGIN SET LOCAL enable_seqscan = off; PERFORM 1 FROM used WHERE a = 1; END'
"""
MODELS = """
from sqlalchemy import Column, ForeignKey, Index, Integer, MetaData, Table
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    pass


class Plain(Base):
    __tablename__ = "fk_plain"
    __table_args__ = (
        Index("fk_plain_other", "x"),
    )
    id: Mapped[int] = mapped_column(primary_key=True)
    owner: Mapped[int] = mapped_column(
        "parent_id", ForeignKey("parent.id"))
    x: Mapped[int]


class D(Base):
    __tablename__ = "d"
    id: Mapped[int] = mapped_column(primary_key=True)
    a: Mapped[int] = mapped_column(index=True)
    __table_args__ = (Index("d_bc", "b", "c"),
                      Index("d_b_bad", "b"))


other = Index("elsewhere_a", D.a, **{"postgresql_where": D.a > 0})
jobs = Table(
    "jobs",
    Base.metadata,
    Column("queue", Integer),
    Column("at", Integer),
    Index("jobs_waiting", "queue", postgresql_where="at > 0"),
    Index("jobs_queue", "queue"),
    Index("jobs_gin", "at", postgresql_using="gin", postgresql_concurrently=True),
    Index("jobs_both", "at", "queue"),
    Index("jobs_lite", "other", sqlite_where="other > 0"),
    Index("jobs_lite_bad", "other"),
)
link = Table(
    "link",
    Base.metadata,
    Column("a_id", ForeignKey("parent.id"), primary_key=True),
    Column("b_id", ForeignKey("parent.id"), primary_key=True),
)
"""


@dataclass(frozen=True)
class Seen:
    report: CatalogReport
    root: Path

    def of(self, rule: str) -> list[QueryFinding]:
        return [one for one in self.report.findings if one.rule == rule]

    def tables(self, rule: str, confidence: Confidence | None = None) -> set[str | None]:
        return {
            one.table for one in self.of(rule) if confidence is None or one.confidence is confidence
        }


def statements(script: str) -> Iterator[str]:
    """One a line; a line that is indented goes on with the one before."""
    yield from script.replace("\n    ", " ").strip().splitlines()


@pytest.fixture(scope="module")
def project_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("catalog")
    (root / "requirements.txt").write_text("fastapi\n")
    (root / "main.py").write_text("from fastapi import FastAPI\nimport models\napp = FastAPI()\n")
    (root / "models.py").write_text(MODELS)
    return root


@pytest.fixture(scope="module")
def database(postgres_server: postgres.PostgresServer) -> Iterator[URL]:
    name = f"asp_test_{uuid.uuid4().hex[:12]}"
    postgres_server.create_database(name)
    try:
        url = make_url(postgres_server.url(name))

        def make(connection: Connection) -> None:
            for statement in (*statements(FOREIGN_KEYS), *statements(INDEXES)):
                connection.exec_driver_sql(statement)
            for table in FILLED + PARTITIONED:
                columns = "a, b, id" if table == "ok_pair" else "id, parent_id, x"
                connection.exec_driver_sql(f"INSERT INTO {table} ({columns}) {ROWS}")
            connection.exec_driver_sql("UPDATE fk_broken SET parent_id = 1")
            for statement in statements(STATE):
                connection.exec_driver_sql(statement)
            connection.commit()

        on_connection(url, make)
        with pytest.raises(Exception, match="could not create unique index"):
            postgres_server.execute(
                "CREATE UNIQUE INDEX CONCURRENTLY broken ON fk_broken (parent_id)", name
            )
        postgres.wait_for(
            "SELECT seq_scan >= 120 FROM pg_stat_user_tables WHERE relname = 'hot'",
            postgres_server,
            name,
        )
        yield url
    finally:
        postgres_server.drop_database(name)


@pytest.fixture(scope="module")
def seen(database: URL, project_root: Path) -> Seen:
    report = read_findings(database, read_project(project_root), statistics_days=0)
    return Seen(report, project_root)


def test_foreign_keys(seen: Seen) -> None:
    rule = "foreign-key-without-index"
    assert seen.tables(rule, Confidence.PROVED) == {
        "fk_plain",
        "fk_second",
        "fk_partial",
        "fk_expression",
        "fk_gist",
        "fk_broken",
        "fk_parts",
        "link",
        "Other.Order",
    }
    assert seen.tables(rule, Confidence.SUSPECTED) == {"fk_tiny"}
    tiny = next(one for one in seen.of(rule) if one.table == "fk_tiny")
    assert any("so few rows" in line for line in tiny.evidence)
    other = next(one for one in seen.of(rule) if one.table == "Other.Order")
    assert other.fix is not None and other.fix.index is not None
    assert other.fix.text == (
        'CREATE INDEX CONCURRENTLY "ix_Order_Parent" ON "Other"."Order" ("Parent");'
    )
    assert (other.fix.index.schema, other.fix.index.table) == ("Other", "Order")


def test_superfluous_indexes(seen: Seen) -> None:
    found = [*seen.of("duplicate-index"), *seen.of("prefix-covered-index")]
    names = {one.fix.index.name for one in found if one.fix and one.fix.index}
    bad = {word for word in INDEXES.split() if word.endswith("_bad")}
    assert names == bad
    assert all(one.confidence is Confidence.PROVED for one in found)
    covered = {one.fix.index.name for one in seen.of("prefix-covered-index") if one.fix.index}
    assert covered == {"d_b_bad", "d_lower_bad"}
    (lower,) = [one for one in found if one.fix.index.name == "d_lower_bad"]
    assert lower.fix is not None
    assert lower.fix.text == (
        "DROP INDEX CONCURRENTLY d_lower_bad;\n-- to have it again:"
        " CREATE INDEX d_lower_bad ON public.d USING btree (lower(f));"
    )


def test_what_is_broken_or_unfinished(seen: Seen) -> None:
    plain, broken = sorted(seen.of("invalid-index"), key=lambda one: one.table or "")
    assert broken.table == "fk_broken"
    assert broken.fix is not None
    # Made again it would fail again.
    assert broken.fix.text == (
        "DROP INDEX CONCURRENTLY broken;\n"
        "-- these rows are in its way:\n"
        "-- SELECT parent_id, count(*) FROM fk_broken GROUP BY parent_id HAVING count(*) > 1;"
    )
    assert plain.fix is not None
    assert plain.fix.text == (
        "DROP INDEX CONCURRENTLY d_broken;\n"
        "CREATE INDEX CONCURRENTLY d_broken ON public.d USING btree (a, h);"
    )
    # Nobody declared it: the line of `a` is that of another index.
    assert MODELS.splitlines()[(plain.line or 0) - 1] == "class D(Base):"
    fixes = {one.fix.text for one in seen.of("constraint-not-valid") if one.fix}
    assert fixes == {
        "ALTER TABLE checked VALIDATE CONSTRAINT checked_a;",
        "ALTER TABLE checked VALIDATE CONSTRAINT checked_fk;",
    }
    assert seen.tables("no-primary-key") == {"keyless", "keyed_by_null"}
    assert seen.tables("id-near-the-end") == {"short_ids", "small_sequence"}


def test_what_the_server_counted(seen: Seen) -> None:
    assert seen.tables("sequential-scans") == {"hot"}
    assert seen.tables("vacuum-lag", Confidence.MEASURED) == {"dead"}
    assert seen.tables("never-analysed") == {"not_analysed"}
    unused = {one.fix.index.name for one in seen.of("unused-index") if one.fix.index}
    assert "used_b_idle" in unused
    # An index of a partition belongs to that of the whole table.
    assert not [name for name in unused if name.startswith("ok_part_1")]
    supporting = {"used_parent", "ok_index_parent_id_idx", "ok_hash_parent_id_idx"}
    assert not unused & {
        "used_a",
        "used_u_key",
        "used_pkey",
        "d_a",
        "broken",
        "d_broken",
        *supporting,
    }
    (idle,) = [one for one in seen.of("unused-index") if one.fix.index.name == "used_b_idle"]
    assert any("replica" in line for line in idle.evidence)
    assert any(line.startswith("0 scans in ") for line in idle.evidence)


def test_young_statistics_call_nothing_unused(database: URL) -> None:
    report = read_findings(database)
    assert not [one for one in report.findings if one.rule == "unused-index"]
    assert any("unused indexes were not judged" in note for note in report.notes)


def test_lines_of_the_models(seen: Seen) -> None:
    def place(rule: str, table: str, index: str = "") -> str:
        (one,) = [
            one
            for one in seen.of(rule)
            if one.table == table and (not index or one.fix.index.name == index)
        ]
        assert one.file == "models.py" and one.line is not None
        return MODELS.splitlines()[one.line - 1].strip()

    assert place("foreign-key-without-index", "fk_plain").startswith("owner: Mapped[int]")
    assert place("foreign-key-without-index", "link").startswith('Column("b_id"')
    assert place("prefix-covered-index", "d", "d_b_bad") == 'Index("d_b_bad", "b"))'
    assert place("duplicate-index", "d", "d_a_bad").startswith("a: Mapped[int]")
    assert place("duplicate-index", "d", "d_h_bad") == "class D(Base):"
    (unknown,) = [one for one in seen.of("no-primary-key") if one.table == "keyless"]
    assert (unknown.file, unknown.line) == (None, None)
    assert locate(None, "fk_plain") == (None, None)
    project = read_project(seen.root)
    assert locate(project, "fk_plain", "nothing") == ("models.py", project.mapped[0].line)


def test_settings(
    seen: Seen, postgres_server: postgres.PostgresServer, make_database: Callable[[str], str]
) -> None:
    known = {one.rule: one for one in seen.report.findings if one.rule.startswith("setting-")}
    assert known["setting-track-io-timing"].confidence is Confidence.PROVED
    assert known["setting-random-page-cost"].confidence is Confidence.SUSPECTED
    assert known["setting-statement-timeout"].confidence is Confidence.SUSPECTED
    assert all(one.fix and one.fix.kind == "setting" for one in known.values())
    url = make_url(make_database("postgresql"))
    for setting in ("track_io_timing = on", "random_page_cost = 1.1", "statement_timeout = '9s'"):
        postgres_server.execute(f'ALTER DATABASE "{url.database}" SET {setting}')
    postgres_server.execute(f'ALTER DATABASE "{url.database}" SET enable_nestloop = off')
    report = read_findings(url)
    rules = {one.rule for one in report.findings}
    changed = {"setting-track-io-timing", "setting-random-page-cost", "setting-statement-timeout"}
    assert changed <= known.keys()
    assert not rules & changed
    assert "setting-enable-nestloop" in rules
    assert report.database == f"PostgreSQL {postgres_server.version}"


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
def test_a_role_with_no_rights(
    database: URL, postgres_server: postgres.PostgresServer, driver: str, seen: Seen
) -> None:
    role = f"asp_{uuid.uuid4().hex[:8]}"
    postgres_server.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'x'")
    try:
        url = database.set(drivername=f"postgresql+{driver}", username=role, password="x")
        rules = {one.rule for one in read_findings(url).findings}
        assert {"foreign-key-without-index", "prefix-covered-index", "invalid-index"} <= rules
    finally:
        postgres_server.execute(f"DROP ROLE {role}")


def test_empty_database_says_so(make_database: Callable[[str], str]) -> None:
    for dialect in ("postgresql", "mysql", "sqlite"):
        url = make_url(make_database(dialect))

        def make(connection: Connection) -> None:
            connection.execute(text("CREATE TABLE p (id integer PRIMARY KEY)"))
            connection.execute(
                text("CREATE TABLE c (id integer PRIMARY KEY, p_id integer REFERENCES p (id))")
            )
            connection.commit()

        on_connection(url, make)
        report = read_findings(url)
        assert any("every table of this database is empty" in note for note in report.notes)
        keys = [o.confidence for o in report.findings if o.rule == "foreign-key-without-index"]
        assert keys == ([] if dialect == "mysql" else [Confidence.SUSPECTED])


def test_reading_cannot_write(database_url: str) -> None:
    url = make_url(database_url)
    kind = kind_of(url.drivername)
    assert kind is not None

    def write(connection: Connection) -> None:
        begin_reading(connection, kind)
        connection.execute(text("CREATE TABLE written (id integer PRIMARY KEY)"))

    with pytest.raises(DBAPIError, match=r"(?i)read.?only"):
        on_connection(url, write)


@pytest.mark.dialects("postgresql")
def test_a_locked_table_is_not_waited_for(
    database_url: str, postgres_server: postgres.PostgresServer
) -> None:
    url = make_url(database_url)

    def lock(connection: Connection) -> None:
        connection.execute(text("CREATE TABLE locked (id integer PRIMARY KEY)"))
        connection.commit()
        connection.execute(text("LOCK TABLE locked IN ACCESS EXCLUSIVE MODE"))
        with pytest.raises(DBAPIError, match="lock timeout"):
            read_findings(url)

    on_connection(url, lock)


MYSQL = """
CREATE TABLE parent (id int PRIMARY KEY, a int)
CREATE TABLE child (id smallint PRIMARY KEY AUTO_INCREMENT, parent_id int, a int, b varchar(99),
    FOREIGN KEY (parent_id) REFERENCES parent (id)) AUTO_INCREMENT = 32000
CREATE INDEX child_a_bad ON child (a)
CREATE INDEX child_ab ON child (a, b)
CREATE INDEX child_b_short ON child (b(5))
CREATE INDEX child_b ON child (b)
CREATE UNIQUE INDEX child_unique ON child (id)
CREATE INDEX child_b1 ON child (b, a)
CREATE INDEX child_b2_bad ON child (b, a)
CREATE FULLTEXT INDEX child_text ON child (b)
CREATE TABLE keyless (a int)
CREATE TABLE keyed (a int NOT NULL UNIQUE)
CREATE TABLE long_ids (id bigint PRIMARY KEY AUTO_INCREMENT) AUTO_INCREMENT = 2000000000
"""


@pytest.mark.dialects("mysql")
@pytest.mark.parametrize("driver", ["aiomysql", "pymysql"])
def test_mysql(database_url: str, driver: str, mysql_server: mysql.MySQLServer) -> None:
    url = make_url(database_url).set(drivername=f"mysql+{driver}")
    for statement in statements(MYSQL):
        mysql_server.execute(statement, url.database)
    report = read_findings(url)
    found = Seen(report, Path())
    repeated = [*found.of("duplicate-index"), *found.of("prefix-covered-index")]
    names = {one.fix.index.name for one in repeated if one.fix and one.fix.index}
    assert names == {"child_a_bad", "child_b2_bad", "child_b"}
    (one,) = found.of("duplicate-index")
    assert one.fix is not None
    assert one.fix.text == "ALTER TABLE child DROP INDEX child_b2_bad;"
    assert found.tables("no-primary-key") == {"keyless"}
    assert found.tables("id-near-the-end") == {"child"}
    assert not found.of("foreign-key-without-index")  # InnoDB has made it
    assert report.database.startswith(("MariaDB", "MySQL"))
    assert found.of("setting-performance-schema") or "mariadb" not in mysql_server.version.lower()


SQLITE = """
CREATE TABLE parent (id INTEGER PRIMARY KEY, a int);
CREATE TABLE plain (id INTEGER PRIMARY KEY, parent_id int REFERENCES parent (id), a int, b text);
CREATE TABLE tiny (id INTEGER PRIMARY KEY, parent_id int REFERENCES parent (id));
CREATE TABLE fine (id INTEGER PRIMARY KEY REFERENCES parent (id), p int REFERENCES parent (id));
CREATE INDEX fine_p ON fine (p, id);
CREATE TABLE partly (id INTEGER PRIMARY KEY, p int REFERENCES parent (id), q int);
CREATE INDEX partly_p ON partly (p) WHERE q > 0;
CREATE TABLE "odd 'name'" (a int);
CREATE INDEX plain_a_bad ON plain (a);
CREATE INDEX plain_ab ON plain (a, b);
CREATE INDEX plain_b ON plain (b);
CREATE INDEX plain_b_nocase ON plain (b COLLATE NOCASE);
CREATE INDEX plain_b_desc ON plain (b DESC);
CREATE INDEX plain_b_part ON plain (b) WHERE a > 0;
CREATE INDEX plain_lower ON plain (lower(b));
CREATE INDEX plain_upper ON plain (upper(b));
CREATE VIRTUAL TABLE words USING fts5 (word);
INSERT INTO parent WITH RECURSIVE g(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM g WHERE n < 1500)
    SELECT n, n FROM g;
INSERT INTO plain SELECT id, id, id, id FROM parent;
INSERT INTO fine SELECT id, id FROM parent;
INSERT INTO partly SELECT id, id, id FROM parent;
INSERT INTO tiny VALUES (1, 1);
"""


@pytest.mark.parametrize("driver", ["aiosqlite", "pysqlite"])
def test_sqlite(tmp_path: Path, driver: str) -> None:
    path = tmp_path / "a.db"
    connection = sqlite3.connect(path)
    connection.executescript(SQLITE)
    connection.close()
    before = path.read_bytes()
    report = read_findings(make_url(f"sqlite+{driver}:///{path}"))
    found = Seen(report, Path())
    rule = "foreign-key-without-index"
    assert found.tables(rule, Confidence.PROVED) == {"plain", "partly"}
    assert found.tables(rule, Confidence.SUSPECTED) == {"tiny"}
    repeated = [*found.of("duplicate-index"), *found.of("prefix-covered-index")]
    assert {one.fix.index.name for one in repeated if one.fix and one.fix.index} == {"plain_a_bad"}
    assert found.tables("no-primary-key", Confidence.SUSPECTED) == {"odd 'name'"}
    assert found.of("never-analysed") and found.of("setting-journal-mode")
    assert report.database == f"SQLite {sqlite3.sqlite_version}"
    assert path.read_bytes() == before


JOBS = """
CREATE TABLE jobs (queue int, at int, other int);
CREATE INDEX jobs_waiting ON jobs (queue);
CREATE INDEX jobs_queue ON jobs (queue);
CREATE INDEX jobs_gin ON jobs (at);
CREATE INDEX jobs_both ON jobs (at, queue);
CREATE INDEX jobs_lite ON jobs (other);
CREATE INDEX jobs_lite_bad ON jobs (other);
CREATE TABLE d (id INTEGER PRIMARY KEY, a int);
CREATE INDEX elsewhere_a ON d (a);
CREATE INDEX d_a ON d (a);
"""


def test_indexes_that_are_two_on_another_database(tmp_path: Path, project_root: Path) -> None:
    connection = sqlite3.connect(tmp_path / "a.db")
    connection.executescript(JOBS)
    connection.close()
    url = make_url(f"sqlite+aiosqlite:///{tmp_path / 'a.db'}")

    def names(report: CatalogReport) -> set[str]:
        rules = ("duplicate-index", "prefix-covered-index")
        found = [one for one in report.findings if one.rule in rules]
        return {one.fix.index.name for one in found if one.fix and one.fix.index}

    assert names(read_findings(url, read_project(project_root))) == {"jobs_lite_bad"}
    # Without the models nothing says so.
    assert len(names(read_findings(url))) == 4


def test_another_kind_of_database() -> None:
    with pytest.raises(ValueError, match="PostgreSQL, MySQL, MariaDB and SQLite"):
        read_findings(URL.create("oracle+oracledb"))
