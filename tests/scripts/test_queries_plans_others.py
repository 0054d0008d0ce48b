"""Plans and indexes on SQLite and MariaDB or MySQL."""

import dataclasses
import hashlib
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import make_url, text
from sqlalchemy.engine import URL

from projects import plans_capture as capture
from servers import mysql
from toolkit.queries.plans import measure_statements
from toolkit.queries.plans.bench import Clock, Sample, walk
from toolkit.queries.plans.captured import shapes_of
from toolkit.queries.plans.measure import Node
from toolkit.queries.plans.model import Limits, PlansReport
from toolkit.queries.plans.mysql.bench import MysqlBench
from toolkit.queries.plans.query import Query
from toolkit.queries.plans.search import is_better
from toolkit.queries.plans.sqlite import SqliteBench

pytestmark = pytest.mark.any_sqlalchemy  # as in test_queries_plans.py
NUMBERS = """
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {0})
"""
TABLES = (
    "CREATE TABLE users (id int PRIMARY KEY, email varchar(100) NOT NULL, name varchar(50))",
    "CREATE TABLE posts (id int PRIMARY KEY, user_id int NOT NULL, title varchar(100) NOT NULL,"
    " status varchar(20) NOT NULL, created int NOT NULL)",
    "CREATE TABLE kinds (id int PRIMARY KEY, name varchar(10) NOT NULL)",
    "CREATE TABLE ledger (id int PRIMARY KEY, customer_id int NOT NULL, cents int NOT NULL,"
    " pad varchar(500))",
    "CREATE INDEX ix_ledger_customer_id ON ledger (customer_id)",
)
ROWS = {
    "users": (20000, "i, 'user' || i || '@example.org', 'n' || i"),
    "posts": (
        30000,
        "i, (i * 7919) % 100 + 1, 'title ' || i,"
        " CASE WHEN i % 100 = 0 THEN 'pending' ELSE 'done' END, (i * 31) % 30011",
    ),
    "kinds": (200, "i, 'k' || (i % 7)"),
    "ledger": (
        60000,
        f"i, CASE WHEN i % 4 = 0 THEN 4 WHEN i % 12 = 3 THEN 3 ELSE 5 END, i, '{'x' * 500}'",
    ),
}
SELECTS: list[tuple[str, str, dict[str, Any]]] = [
    ("timeline", "SELECT id, title FROM posts WHERE user_id = :u ORDER BY created DESC LIMIT 20",
     {"u": 42}),
    ("by_author", "SELECT u.name, p.title FROM users u JOIN posts p ON p.user_id = u.id"
     " WHERE u.id IN (5, 6)", {}),
    ("queue", "SELECT id, title FROM posts WHERE status = 'pending' ORDER BY created LIMIT 20", {}),
    ("login", "SELECT id, name FROM users WHERE email = :e", {"e": "user77@example.org"}),
    ("page", "SELECT id, title FROM posts ORDER BY id LIMIT 20 OFFSET 20000", {}),
    ("publish", "UPDATE posts SET status = 'done' WHERE user_id = :u AND created < :c",
     {"u": 7, "c": 300}),
    ("balance", "SELECT sum(cents) FROM ledger WHERE customer_id = :customer", {"customer": 3}),
    ("small", "SELECT id FROM kinds WHERE name = :k", {"k": "k3"}),
    ("most", "SELECT id, title FROM posts WHERE status = :s", {"s": "done"}),
    ("by_key", "SELECT title FROM posts WHERE id = :i", {"i": 3}),
]  # fmt: skip
INNOCENT = ("small", "most", "by_key")


def fill(url: str, concatenate: Callable[[str], str]) -> None:
    capture.script(url, *TABLES)
    for table, (count, columns) in ROWS.items():
        numbers = NUMBERS.format(count)
        capture.script(url, concatenate(f"INSERT INTO {table} {numbers} SELECT {columns} FROM n"))


def for_sqlite(sql: str) -> str:
    before, rest = sql.split("WITH", 1)
    inner, last = rest.split(") SELECT" if ") SELECT" in rest else ")\n SELECT", 1)
    return f"WITH{inner}) {before} SELECT{last}"


def statements(url: str) -> list[Any]:
    # Rows that lie apart cost SQLite most, many of them MySQL.
    more = {"customer": 4} if url.startswith("mysql") else {}
    typed = [
        (name, text(sql).bindparams(**{key: more.get(key, value) for key, value in v.items()}))
        for name, sql, v in SELECTS
    ]
    return capture.captured(url, typed)


def rules(report: PlansReport) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {name: [] for name, _, _ in SELECTS}
    for one in report.findings:
        found[str(one.function)].append(one.rule)
    return found


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("plans") / "forum.db"
    fill(f"sqlite+aiosqlite:///{path}", for_sqlite)
    return path


@pytest.fixture(scope="module")
def on_sqlite(file: Path) -> PlansReport:
    url = f"sqlite+aiosqlite:///{file}"
    found = statements(url)
    before = hashlib.sha256(file.read_bytes()).digest()
    report = measure_statements(make_url(url), found)
    assert hashlib.sha256(file.read_bytes()).digest() == before
    assert [one.name for one in file.parent.iterdir()] == [file.name]
    return report


def test_sqlite(on_sqlite: PlansReport, show_at_the_end: Callable[[str], None]) -> None:
    found = rules(on_sqlite)
    lines = [f"{name:<10} {', '.join(names) or '-'}" for name, names in found.items()]
    lines += [one.fix.text for one in on_sqlite.findings if one.fix and one.fix.index]
    show_at_the_end("Plans on SQLite\n" + "\n".join(lines))
    indexes = capture.indexes(on_sqlite)
    assert indexes["ix_posts_user_id_created"] == ("user_id", "created")
    assert indexes["ix_users_email"] == ("email",)
    assert indexes["ix_posts_created"] == ("created",)
    assert "CREATE INDEX ix_posts_created ON posts (created) WHERE status = 'pending';" in lines
    assert indexes["ix_ledger_customer_id_cents"] == ("customer_id", "cents")
    assert len(indexes) == 4
    assert found["page"] == ["deep-offset"]
    assert {name: found[name] for name in INNOCENT} == {name: [] for name in INNOCENT}
    assert len(on_sqlite.measured) >= len(SELECTS) and on_sqlite.skipped is None


@pytest.mark.parametrize(
    ("name", "busy_looks", "found"),
    [
        pytest.param("most", {0}, {}, id="the first, and nearly all rows are done"),
        pytest.param("most", {0, 2, 4, 6}, {}, id="whenever there is no index"),
        pytest.param("login", {1}, {"ix_users_email": ("email",)}, id="with the index"),
    ],
)
def test_a_busy_moment_neither_makes_nor_hides_an_index(
    name: str,
    busy_looks: set[int],
    found: dict[str, tuple[str, ...]],
    file: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    url = f"sqlite+aiosqlite:///{file}"
    [statement] = [one for one in statements(url) if one.frames[0].function == name]
    measure = SqliteBench.sample
    looks: list[Sample] = []

    def sample(self: SqliteBench, query: Query) -> Sample:
        look = measure(self, query)
        busy = 20_000 if len(looks) in busy_looks else 1
        looks.append(dataclasses.replace(look, ms=busy * look.work / 10_000))
        return looks[-1]

    monkeypatch.setattr(SqliteBench, "sample", sample)
    report = measure_statements(make_url(url), [statement])
    assert len(looks) > min(busy_looks) + 1
    assert capture.indexes(report) == found


@pytest.mark.parametrize(
    ("after", "felt", "better"),
    [
        ((4, 90), False, True),
        ((4, 90), True, True),
        ((4, 110), False, False),  # quicker by chance: more is done than before
        ((6, 90), False, False),
        ((4.9, 9), True, True),
        ((9.8, 9), False, False),
    ],
)
def test_what_an_index_has_to_bring(after: tuple[float, float], felt: bool, better: bool) -> None:
    before, then = (Sample(*one, Node("scan")) for one in ((10, 100), after))
    assert is_better(before, then, felt=felt) is better


def test_the_work_on_sqlite_is_the_same_each_time(file: Path) -> None:
    url = f"sqlite+aiosqlite:///{file}"
    [queue] = shapes_of(
        [one for one in statements(url) if one.frames[0].function == "queue"], "sqlite", {}
    )
    with closing(sqlite3.connect(file)) as connection:
        bench = SqliteBench(connection, Limits(), Clock(60))
        works = set()
        for rows in range(5):
            connection.execute("SELECT id FROM users LIMIT ?", (rows,)).fetchall()
            works.add(bench.sample(queue.query).work)
    assert len(works) == 1


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine on which a statement takes as long as it works: no outcome by the clock (#10)."""
    for bench in (MysqlBench, SqliteBench):
        monkeypatch.setattr(bench, "sample", quiet_sample(bench.sample))


def quiet_sample(measure: Callable[[Any, Query], Sample]) -> Callable[[Any, Query], Sample]:
    def sample(self: Any, query: Query) -> Sample:
        found = measure(self, query)
        return dataclasses.replace(found, ms=found.work / 1000)

    return sample


def two_of_four(url: URL, full: str) -> None:
    """Two look-ups that took long wait for two with something to spare."""
    found = [one for one in statements(full) if one.frames[0].function in ("login", "timeline")]
    keys = [one for one in statements(full) if one.frames[0].function == "by_key"]
    other = capture.captured(full, [("by_id", text("SELECT name FROM users WHERE id = 3"))])
    slow = [dataclasses.replace(one, ms=500) for one in (*keys, *other)]
    report = measure_statements(url, [*slow, *found], limits=Limits(statements=2))
    assert sorted(capture.indexes(report)) == ["ix_posts_user_id_created", "ix_users_email"]
    assert any(note.startswith("measured: the worst 2 of 4 st") for note in report.notes)


@pytest.mark.usefixtures("quiet")
def test_look_ups_take_no_place(file: Path) -> None:
    url = f"sqlite+aiosqlite:///{file}"
    two_of_four(make_url(url), url)


@pytest.mark.usefixtures("quiet")
def test_look_ups_take_no_place_on_mysql(on_mysql: tuple[PlansReport, URL]) -> None:
    _, url = on_mysql
    full = url.render_as_string(hide_password=False)
    with capture.scratch_on(full):
        two_of_four(url, full)


def test_sqlite_tells_its_plan_and_what_it_costs(on_sqlite: PlansReport) -> None:
    [one] = [m for m in on_sqlite.measured if m.index and "ORDER BY created DESC" in m.shape]
    assert one.after and one.before.buffers is None
    assert {"SCAN posts", "USE TEMP B-TREE FOR ORDER BY"} <= {
        n.label for n in walk(one.before.plan)
    }
    assert any("USING INDEX ix_posts_user_id_created" in n.label for n in walk(one.after.plan))
    assert one.size_bytes and one.size_bytes > 100_000 and one.write_ratio
    [login] = [f for f in on_sqlite.findings if f.function == "login"]
    assert any("steps of SQLite's virtual machine" in line for line in login.evidence)


def test_an_index_that_is_wider_takes_the_place_of_one_that_is_narrow(file: Path) -> None:
    url = f"sqlite+aiosqlite:///{file}"
    all_of = ("all", text("SELECT title FROM posts WHERE user_id = 42"))
    newest = ("newest", text(SELECTS[0][1]).bindparams(u=42))
    first = capture.captured(url, [all_of], ms=50)
    alone = measure_statements(make_url(url), first)
    assert capture.indexes(alone) == {"ix_posts_user_id": ("user_id",)}
    both = measure_statements(make_url(url), [*first, *capture.captured(url, [newest])])
    assert capture.indexes(both) == {"ix_posts_user_id_created": ("user_id", "created")}
    [one] = both.findings
    assert sum("as well" in line for line in one.evidence) == 1


def test_a_sqlite_file_that_others_write_to_is_copied(tmp_path: Path) -> None:
    path = tmp_path / "busy.db"
    writer = sqlite3.connect(path)
    writer.execute("PRAGMA journal_mode = WAL")
    writer.execute("CREATE TABLE a (id INTEGER PRIMARY KEY, x INT NOT NULL, pad TEXT)")
    writer.executemany(
        "INSERT INTO a (x, pad) VALUES (?, ?)", [(i, "p" * 50) for i in range(20000)]
    )
    writer.commit()
    url = f"sqlite+aiosqlite:///{path}"
    found = capture.captured(url, [("one", text("SELECT pad FROM a WHERE x = 5"))])
    writer.execute("INSERT INTO a (x) VALUES (1)")  # and it is not committed
    report = measure_statements(make_url(url), found)
    assert capture.indexes(report) == {"ix_a_x": ("x",)}
    assert "a: 20,000 rows" in report.findings[0].evidence
    writer.rollback()
    writer.close()


def test_a_sqlite_database_that_cannot_be_copied_is_said(file: Path, tmp_path: Path) -> None:
    url = make_url(f"sqlite+aiosqlite:///{file}")
    found = statements(str(url))[:1]
    memory = measure_statements(make_url("sqlite+aiosqlite://"), found)
    assert memory.skipped and "in memory" in memory.skipped
    gone = measure_statements(url.set(database=str(tmp_path / "gone.db")), found)
    assert gone.skipped and "there is no file gone.db" in gone.skipped
    assert list(tmp_path.iterdir()) == []
    large = measure_statements(url, found, limits=Limits(copy_bytes=1000))
    assert large.skipped and "larger than 1,000 bytes" in large.skipped


def test_sqlite_time_limits_hold(file: Path) -> None:
    url = f"sqlite+aiosqlite:///{file}"
    endless = "SELECT count(*) FROM posts a, posts b WHERE a.title < b.title"
    slow = dataclasses.replace(statements(url)[-1], sql=endless, shape=endless, parameters=[])
    report = measure_statements(make_url(url), [slow], limits=Limits(statement_seconds=0.3))
    assert [one.before.ms for one in report.measured] == [300]
    unknown = dataclasses.replace(slow, sql="SELECT ours(id) FROM posts", shape="x")
    refused = measure_statements(make_url(url), [unknown])
    assert refused.notes == ("app/crud.py:19: not measured: no such function: ours",)


@pytest.fixture(scope="module")
def on_mysql(mysql_server: mysql.MySQLServer) -> Iterator[tuple[PlansReport, URL]]:
    name = "asp_test_plans"
    mysql_server.drop_database(name)
    mysql_server.create_database(name)
    url = mysql_server.url(name)
    pipes = "SET SESSION sql_mode = CONCAT(@@sql_mode, ',PIPES_AS_CONCAT')"
    depth = "max_recursive_iterations" if "mariadb" in mysql_server.version.lower() else (
        "cte_max_recursion_depth"
    )  # fmt: skip
    capture.script(url, *TABLES)
    for table, (count, columns) in ROWS.items():
        capture.script(
            url,
            pipes,
            f"SET SESSION {depth} = 100000",
            f"INSERT INTO {table} {NUMBERS.format(count)} SELECT {columns} FROM n",
        )
    capture.script(url, "ANALYZE TABLE users, posts, kinds, ledger")
    found = statements(url)
    checksum = "CHECKSUM TABLE users, posts, kinds"
    catalog = (
        "SELECT table_name, index_name FROM information_schema.statistics"
        " WHERE table_schema = database()"
    )
    before = capture.script(url, checksum), capture.script(url, catalog)
    with capture.scratch_on(url):
        report = measure_statements(make_url(url), found)
    assert (capture.script(url, checksum), capture.script(url, catalog)) == before
    assert mysql_server.execute("SHOW DATABASES LIKE 'alembic_scratch%'") == ()
    yield report, make_url(url)
    mysql_server.drop_database(name)


def test_mysql(on_mysql: tuple[PlansReport, URL], show_at_the_end: Callable[[str], None]) -> None:
    report, _ = on_mysql
    found = rules(report)
    lines = [f"{name:<10} {', '.join(names) or '-'}" for name, names in found.items()]
    lines += [one.fix.text for one in report.findings if one.fix and one.fix.index]
    show_at_the_end("Plans on MySQL or MariaDB\n" + "\n".join(lines))
    indexes = capture.indexes(report)
    assert indexes["ix_posts_user_id_created"] == ("user_id", "created")
    assert indexes["ix_posts_status_created"] == ("status", "created")
    assert indexes["ix_users_email"] == ("email",)
    assert indexes["ix_ledger_customer_id_cents"] == ("customer_id", "cents")
    assert found["page"] == ["deep-offset"]
    assert {name: found[name] for name in INNOCENT} == {name: [] for name in INNOCENT}
    assert len(report.measured) >= len(SELECTS) and report.skipped is None


def test_mysql_tells_its_plan_and_what_it_costs(on_mysql: tuple[PlansReport, URL]) -> None:
    report, _ = on_mysql
    [one] = [m for m in report.measured if m.index and "ORDER BY created DESC" in m.shape]
    assert one.after and any("ALL on posts" in node.label for node in walk(one.before.plan))
    assert any("using ix_posts_user_id_created" in node.label for node in walk(one.after.plan))
    assert one.write_ratio and one.size_bytes
    [login] = [f for f in report.findings if f.function == "login"]
    assert any("rows read before" in line for line in login.evidence)


@pytest.mark.usefixtures("quiet")
def test_mysql_with_a_role_that_may_only_read(
    on_mysql: tuple[PlansReport, URL], mysql_server: mysql.MySQLServer
) -> None:
    _, url = on_mysql
    mysql_server.execute("CREATE USER 'plans_reader'@'%' IDENTIFIED BY 'r'")
    mysql_server.execute(f"GRANT SELECT ON {url.database}.* TO 'plans_reader'@'%'")
    try:
        full = url.render_as_string(hide_password=False)
        found = [one for one in statements(full) if one.frames[0].function in ("login", "timeline")]
        with capture.scratch_on(full):
            report = measure_statements(url.set(username="plans_reader", password="r"), found)
    finally:
        mysql_server.execute("DROP USER 'plans_reader'@'%'")
    assert sorted(capture.indexes(report)) == ["ix_posts_user_id_created", "ix_users_email"]
