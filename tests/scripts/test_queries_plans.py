"""Plans and indexes on PostgreSQL: what is proposed is measured, and the database is only read."""

import dataclasses
import datetime
import decimal
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import make_url, text

from projects import plans_capture as capture
from servers import postgres
from toolkit.database.scratch import PREFIX, open_scratch
from toolkit.queries.finding import Confidence, Layer
from toolkit.queries.plans import measure_statements
from toolkit.queries.plans.bench import walk
from toolkit.queries.plans.model import Limits, PlansReport

# What is judged are a server's plans. That each SQLAlchemy brings us there, other tests show:
# test_queries_plans_reach.py and test_queries_command.py.
pytestmark = pytest.mark.any_sqlalchemy
CANARY = "zq17secret"
FORUM = """
CREATE EXTENSION citext;
CREATE TABLE users (id serial PRIMARY KEY, email text NOT NULL, name text NOT NULL);
INSERT INTO users (email, name)
  SELECT 'User' || i || '@example.org', md5(i::text) FROM generate_series(1, 20000) i;
CREATE UNIQUE INDEX uq_users_email ON users (email);
CREATE TABLE posts (
  id serial PRIMARY KEY, user_id int NOT NULL REFERENCES users, title text NOT NULL,
  status varchar(20) NOT NULL, created timestamptz NOT NULL, deleted_at timestamptz,
  a int NOT NULL, b int NOT NULL, c int NOT NULL, d int NOT NULL, price numeric NOT NULL,
  pad text NOT NULL);
INSERT INTO posts (user_id, title, status, created, deleted_at, a, b, c, d, price, pad)
  SELECT (i * 7919) % 200 + 1, md5(i::text), CASE WHEN i % 100 = 0 THEN 'pending' ELSE 'done' END,
         '2026-01-01'::timestamptz - i * interval '1 minute', CASE WHEN i % 5 = 0 THEN now() END,
         i % 5, i % 5, i % 5, i % 5, i, repeat('x', 60)
  FROM generate_series(1, 100000) i;
CREATE TABLE comments (id serial PRIMARY KEY, post_id int NOT NULL REFERENCES posts,
  number int NOT NULL, body text NOT NULL);
INSERT INTO comments (post_id, number, body)
  SELECT (i * 31) % 100000 + 1, i, md5(i::text) FROM generate_series(1, 60000) i;
CREATE INDEX ix_comments_number ON comments (number);
CREATE TABLE kinds (id int PRIMARY KEY, name text NOT NULL);
CREATE TABLE ledger (id int PRIMARY KEY, customer_id int NOT NULL, cents int NOT NULL, pad text);
INSERT INTO ledger SELECT i, (i * 7919) % 40 + 1, i, repeat('x', 60)
  FROM generate_series(1, 40000) i;
CREATE INDEX ix_ledger_customer_id ON ledger (customer_id);
INSERT INTO kinds SELECT i, 'k' || i % 7 FROM generate_series(1, 200) i;
CREATE SCHEMA "Odd";
CREATE TYPE "Odd"."Mood" AS ENUM ('sad', 'glad');
CREATE DOMAIN "Odd".positive AS int CHECK (value > 0);
CREATE TABLE "Odd"."Weird ""Table" (
  "select" uuid NOT NULL, mood "Odd"."Mood" NOT NULL, moods "Odd"."Mood"[], amount "Odd".positive,
  twice int GENERATED ALWAYS AS (amount * 2) STORED, name citext, raw bytea, day date);
INSERT INTO "Odd"."Weird ""Table" ("select", mood, moods, amount, name, raw, day)
  SELECT md5(i::text)::uuid, 'sad', ARRAY['glad']::"Odd"."Mood"[], i, 'N' || i, '\\x00ff',
         '2026-01-01'
  FROM generate_series(1, 30000) i;
ANALYZE;
"""
UNTOUCHED = """
SELECT (SELECT string_agg(concat(oid, relname, relkind, relfilenode, relpages), ',' ORDER BY oid)
          FROM pg_class WHERE relnamespace <> 'pg_catalog'::regnamespace),
       (SELECT string_agg(extname, ',' ORDER BY extname) FROM pg_extension),
       (SELECT string_agg(concat(relname, n_tup_ins, n_tup_upd, n_tup_del), ',' ORDER BY relid)
          FROM pg_stat_user_tables),
       (SELECT count(*) FROM users), (SELECT sum(hashtext(posts::text)) FROM posts)
"""
SELECTS: list[tuple[str, str, dict[str, Any]]] = [
    ("timeline", "SELECT id, title FROM posts WHERE user_id = :u ORDER BY created DESC"
     " LIMIT 20", {"u": 42}),
    ("by_author", "SELECT u.name, p.title FROM users u JOIN posts p ON p.user_id = u.id"
     " WHERE u.email = :e", {"e": "User7@example.org"}),
    ("queue", "SELECT id, title FROM posts WHERE status = 'pending' ORDER BY price LIMIT 50", {}),
    ("login", "SELECT id, name FROM users WHERE lower(email) = :e", {"e": f"{CANARY}@example.org"}),
    ("search", "SELECT id FROM users WHERE name LIKE :p", {"p": f"%{CANARY}%"}),
    ("thread", "SELECT body FROM comments WHERE post_id = :p", {"p": 5}),
    ("thread_of_title", "SELECT c.body FROM comments c JOIN posts p ON p.id = c.post_id"
     " WHERE p.id IN (5, 6)", {}),
    ("cast", "SELECT body FROM comments WHERE number::numeric = :n", {"n": decimal.Decimal("77")}),
    ("per_day", "SELECT id FROM posts WHERE date(created) = :d", {"d": datetime.date(2025, 12, 1)}),
    ("modulo", "SELECT id FROM posts WHERE id % CAST(:m AS int) = 99999", {"m": 100000}),
    ("export", "SELECT id, pad, title FROM posts ORDER BY title", {}),
    ("page", "SELECT id, title FROM posts ORDER BY id LIMIT 20 OFFSET 60000", {}),
    ("related", "SELECT id, pad FROM posts WHERE a = 3 AND b = 3 AND c = 3 AND d = 3"
     " AND length(pad) > 0", {}),
    ("odd", 'SELECT amount FROM "Odd"."Weird ""Table" WHERE "select" = :s AND'
     " mood = 'sad'", {"s": uuid.UUID(int=5)}),
    ("balance", "SELECT sum(cents) FROM ledger WHERE customer_id = :c", {"c": 7}),
    ("many_numbers", "SELECT body FROM comments WHERE number = ANY(CAST(:n AS int[]))",
     {"n": list(range(1, 50000, 10))}),
    # Nothing is wrong with these.
    ("some_users", "SELECT name FROM users WHERE id = ANY(CAST(:n AS int[]))",
     {"n": list(range(1, 15000, 10))}),
    ("small", "SELECT id FROM kinds WHERE name = :k", {"k": "k3"}),
    ("most", "SELECT id, title FROM posts WHERE status = :s", {"s": "done"}),
    ("by_key", "SELECT title FROM posts WHERE id = :i", {"i": 3}),
    ("by_number", "SELECT body FROM comments WHERE number = :i", {"i": 3}),
    ("count_all", "SELECT count(*) FROM posts", {}),
]  # fmt: skip
INNOCENT = ("some_users", "small", "most", "by_key", "by_number", "count_all")


def statements(url: str, *names: str) -> list[Any]:
    typed = [
        (name, text(sql).bindparams(**values))
        for name, sql, values in SELECTS
        if not names or name in names
    ]
    return capture.captured(url, typed)


@pytest.fixture(scope="module")
def forum(postgres_server: postgres.PostgresServer) -> Iterator[str]:
    """A database with data, that no test changes."""
    name = f"asp_test_plans_{uuid.uuid4().hex[:8]}"
    postgres_server.create_database(name)
    url = postgres_server.url(name)
    capture.script(url, *filter(str.strip, FORUM.split(";\n")))
    with capture.scratch_on(postgres_server.url("postgres")):
        yield url
    postgres_server.drop_database(name)


@pytest.fixture(scope="module")
def untouched(forum: str) -> Callable[[], Any]:
    def look() -> Any:
        capture.script(forum, "SELECT pg_stat_clear_snapshot()")
        return capture.script(forum, UNTOUCHED)

    return look


@pytest.fixture(scope="module")
def report(forum: str, untouched: Callable[[], Any]) -> PlansReport:
    """All statements measured once."""
    found = statements(forum)
    sql = "UPDATE posts SET status = $1::VARCHAR WHERE user_id = $2::INTEGER AND price < $3"
    values = ["done", 9, capture.as_json(decimal.Decimal(2000))]
    found.append(dataclasses.replace(found[0], sql=sql, shape="UPDATE", parameters=values))
    before = untouched()
    with capture.scratch_on(""):  # a private one has HypoPG, which saves more than its start takes
        report = measure_statements(make_url(forum), found, units={1: "GET /posts"})
    assert untouched() == before
    left = capture.script(forum, f"SELECT datname FROM pg_database WHERE datname LIKE '{PREFIX}%'")
    assert left == []
    return report


def rule(report: PlansReport, function: str) -> list[str]:
    return [one.rule for one in report.findings if one.function == function]


def test_every_planted_fault_gets_its_rule(
    report: PlansReport, show_at_the_end: Callable[[str], None]
) -> None:
    proposed = capture.indexes(report)
    rules = {name: rule(report, name) for name, _, _ in SELECTS}
    lines = [f"{name:<16} {', '.join(found) or '-'}" for name, found in rules.items()]
    lines += [one.fix.text.splitlines()[-1] for one in report.findings if one.fix and one.fix.index]
    show_at_the_end("Plans on PostgreSQL\n" + "\n".join(lines))
    assert report.skipped is None
    # One composite index for the page of an author, and for the join that needs its first column.
    assert proposed["ix_posts_user_id_created"] == ("user_id", "created")
    assert "ix_posts_user_id" not in proposed
    assert proposed["ix_posts_price"] == ("price",)
    assert proposed["ix_users_lower_email"] == ("lower(email)",)
    assert proposed["ix_users_name"] == ("name",)
    assert proposed["ix_comments_post_id"] == ("post_id",)
    assert rules["cast"] == ["cast-defeats-index"]
    assert rules["per_day"] == ["function-on-column"]
    assert rules["modulo"] == ["full-scan"]
    assert rules["export"] == ["sort-spills"]
    assert rules["page"] == ["deep-offset"]
    assert proposed["ix_ledger_customer_id_2"] == ("customer_id",)
    assert rules["many_numbers"] == ["full-scan"]
    assert rules["related"] == ["misestimate"]
    assert rules["odd"] == ["missing-index"]


def test_innocent_statements_are_not_reported(report: PlansReport) -> None:
    assert {name: rule(report, name) for name in INNOCENT} == {name: [] for name in INNOCENT}
    # All of them were looked at.
    assert len(report.measured) >= len(SELECTS)


def test_a_finding_has_its_evidence(report: PlansReport) -> None:
    for one in report.findings:
        assert (one.layer, one.confidence) == (Layer.PLANS, Confidence.MEASURED)
        assert one.file == "app/crud.py" and one.line and one.evidence and one.cost_ms > 0
        assert one.unit == "GET /posts"
    [one] = [
        f for f in report.findings if f.fix and f.fix.index and f.fix.index.name == "ix_posts_price"
    ]
    assert one.fix and one.fix.index and one.fix.index.where == "status = 'pending'"
    assert one.fix.text == (
        "CREATE INDEX CONCURRENTLY ix_posts_price ON posts (price) WHERE status = 'pending';"
    )
    words = "\n".join(one.evidence)
    for part in ("pages before", "the index: ", "built in", "INSERTs take", "posts: 100,000 rows"):
        assert part in words
    [search] = [one for one in report.findings if one.function == "search"]
    assert search.fix and search.fix.text.startswith("CREATE EXTENSION IF NOT EXISTS pg_trgm;")
    # What an aggregate reads is put beside the key that is there.
    [balance] = [one for one in report.findings if one.function == "balance"]
    assert balance.fix and balance.fix.index and balance.fix.index.include == ("cents",)
    assert "ledger (customer_id) including cents" in balance.message
    assert any("begins with the keys of ix_ledger_customer_id" in one for one in balance.evidence)
    # The words about a scan that no index cures are true of its table.
    [many] = [one for one in report.findings if one.function == "many_numbers"]
    assert any("ix_comments_number begins with number" in line for line in many.evidence)
    assert "1 execution was captured" in many.evidence
    [login] = [one for one in report.findings if one.function == "login"]
    assert any("uq_users_email is on email itself" in line for line in login.evidence)
    [related] = [one for one in report.findings if one.rule == "misestimate"]
    assert related.fix and "CREATE STATISTICS st_posts_a_b_c_d ON a, b, c, d" in related.fix.text


def test_statements_with_nothing_to_spare_take_no_place(forum: str) -> None:
    slow = [dataclasses.replace(one, ms=500) for one in statements(forum, "by_key", "by_number")]
    found = [*slow, *statements(forum, "timeline", "balance")]
    report = measure_statements(make_url(forum), found, limits=Limits(statements=2))
    assert {one.line for one in report.measured} == {10, 11}
    assert sorted(one.function or "" for one in report.findings) == ["balance", "timeline"]
    assert report.notes == (
        "measured: the worst 2 of 4 statements; 2 of those left out find their rows by an index as"
        " it is",
    )


def test_before_and_after_are_measured(report: PlansReport) -> None:
    [one] = [m for m in report.measured if m.index and m.index.name == "ix_posts_user_id_created"
             and "ORDER BY" in m.shape]  # fmt: skip
    assert one.after and one.before.buffers and one.after.buffers
    # 500 posts of the author: each would be read with an index on user_id alone.
    assert one.after.buffers < 60 and one.before.buffers > 1000
    assert any("removed" in note for node in walk(one.before.plan) for note in node.notes)
    assert any("using ix_posts_user_id_created" in node.label for node in walk(one.after.plan))
    updates = [m for m in report.measured if m.shape == "UPDATE"]
    assert updates and all(m.after and m.after.buffers < m.before.buffers for m in updates)
    assert one.size_bytes and one.build_ms and one.write_ratio and one.write_ratio >= 1


def test_no_value_of_a_parameter_is_told(report: PlansReport) -> None:
    everything = repr(dataclasses.astuple(report))
    assert CANARY not in everything
    assert "User7@" not in everything
    assert "user_id = ?" in everything  # the plans are there


def test_the_proposed_ddl_works_and_leaves_nothing_to_find(
    report: PlansReport, forum: str, postgres_server: postgres.PostgresServer,
    make_database: Callable[..., str],
) -> None:  # fmt: skip
    copy = make_database("postgresql", template=str(make_url(forum).database))
    database = str(make_url(copy).database)
    for one in report.findings:
        if one.fix and one.fix.kind == "ddl":
            for statement in one.fix.text.splitlines():
                postgres_server.execute(statement, database)
    postgres_server.execute("VACUUM ANALYZE", database)
    again = measure_statements(
        make_url(copy), statements(copy, "timeline", "by_author", "queue", "login", "thread", "odd")
    )  # fmt: skip
    assert [(one.rule, one.function) for one in again.findings] == []
    assert all(one.before.buffers < 1000 for one in again.measured) and len(again.measured) == 6


@pytest.mark.parametrize("driver", ["psycopg"])
def test_another_driver_and_a_role_that_may_only_read(
    driver: str, forum: str, untouched: Callable[[], Any], postgres_server: postgres.PostgresServer
) -> None:
    database = str(make_url(forum).database)
    role = f"reader_{uuid.uuid4().hex[:8]}"
    postgres_server.execute(f"CREATE ROLE {role} LOGIN NOCREATEDB PASSWORD 'r'")
    postgres_server.execute(f"GRANT SELECT ON users TO {role}", database)
    try:
        url = make_url(forum).set(drivername=f"postgresql+{driver}", username=role, password="r")
        found = statements(url.set(username=postgres_server.user, password=postgres_server.password)
                           .render_as_string(hide_password=False),  "login", "thread")  # fmt: skip
        assert "%(" in found[0].sql
        before = untouched()
        report = measure_statements(url, found)
        assert untouched() == before
    finally:
        postgres_server.execute(f"DROP OWNED BY {role}", database)
        postgres_server.execute(f"DROP ROLE {role}")
    assert sorted(capture.indexes(report)) == ["ix_users_lower_email"]
    # It says which table it may not read.
    assert any("app/crud.py:11" in note and "comments" in note for note in report.notes)


def test_without_sqlglot_it_says_so_and_reads_plans(
    forum: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "sqlglot", None)
    report = measure_statements(make_url(forum), statements(forum, "modulo", "by_key"))
    assert report.skipped and "pip install sqlglot==30.30.0" in report.skipped
    [one] = report.findings
    assert (one.rule, one.function) == ("full-scan", "modulo")
    assert "sqlglot is not installed" in one.evidence[1]
    assert len(report.measured) == 2


def test_the_copy_is_of_one_moment(forum: str, make_database: Callable[..., str]) -> None:
    url = make_database("postgresql")
    table = "CREATE TABLE {0} (id int PRIMARY KEY, a int NOT NULL, pad text)"
    fill = "INSERT INTO {0} SELECT i, i, repeat('x', 200) FROM generate_series(1, 20000) i"
    names = ("first", "second")
    capture.script(url, *(one.format(name) for name in names for one in (table, fill)), "ANALYZE")
    found = capture.captured(
        url, [(name, text(f"SELECT pad FROM {name} WHERE a = 7")) for name in names]
    )
    told: list[str] = []

    def write(words: str) -> None:
        told.append(words)
        if words.startswith("copying second"):
            add = "INSERT INTO {0} SELECT i, i FROM generate_series(20001, 21000) i"
            capture.script(url, *(add.format(name) for name in names))

    report = measure_statements(make_url(url), found, say=write)
    assert len(capture.indexes(report)) == 2
    for one in report.findings:
        assert f"{one.table}: 20,000 rows" in one.evidence
    assert any(words.startswith("copying second") for words in told)
    assert capture.script(url, "SELECT count(*) FROM second") == [(21000,)]


def test_large_tables_are_sampled_and_it_is_said(forum: str) -> None:
    limits = Limits(copy_bytes=4_000_000)
    report = measure_statements(make_url(forum), statements(forum, "thread"), limits=limits)
    [one] = report.findings
    [words] = [line for line in one.evidence if line.startswith("comments:")]
    assert "60,000 rows" not in words and "sample" in words


def test_time_limits_hold(forum: str, make_database: Callable[..., str]) -> None:
    url = make_database("postgresql")
    capture.script(
        url,
        "CREATE TABLE a (id int PRIMARY KEY, x int NOT NULL)",
        "INSERT INTO a SELECT i, i FROM generate_series(1, 4000) i",
        "ANALYZE",
    )
    endless = (
        "SELECT count(*) FROM a JOIN a b ON a.x < b.x JOIN a c ON c.x < b.x WHERE a.id + c.id > 0"
    )
    found = capture.captured(url, [("quick", text("SELECT x FROM a WHERE id = 1"))])
    slow = dataclasses.replace(found[0], sql=endless, shape=endless)
    for seconds in (0.3, 3, 30):  # a busy machine takes longer to plan it, too (#10)
        limits = Limits(statement_seconds=seconds, seconds=120)
        report = measure_statements(make_url(url), [*found, slow], limits=limits)
        ended = {m.shape: m.before for m in report.measured}
        if endless in ended:
            break
    assert endless in ended, report
    assert ended[endless].ms == seconds * 1000 and ended[endless].buffers is None
    nothing = measure_statements(make_url(url), [*found, slow], limits=Limits(seconds=0))
    assert any("left out" in note for note in nothing.notes) and nothing.measured == ()


def test_a_locked_table_is_not_waited_for(forum: str, make_database: Callable[..., str]) -> None:
    url = make_database("postgresql")
    capture.script(url, "CREATE TABLE a (id int PRIMARY KEY, x int NOT NULL)")
    found = capture.captured(url, [("locked", text("SELECT x FROM a WHERE x = 1"))])

    def locked(connection: Any) -> PlansReport:
        connection.execute(text("LOCK TABLE a IN ACCESS EXCLUSIVE MODE"))
        return measure_statements(make_url(url), found)

    report = capture.on_connection(url, locked)
    assert report.notes == ("app/crud.py:10: not explained: a lock is not to be had",)


def test_a_parameter_that_was_not_kept_is_said(forum: str) -> None:
    [one] = statements(forum, "thread")
    lost = dataclasses.replace(one, parameters=[{"__type__": "Range", "value": None}])
    report = measure_statements(make_url(forum), [lost])
    assert report.findings == ()
    assert any("a parameter (range) was not kept" in note for note in report.notes)


def test_a_database_that_is_not_there_is_one_line(forum: str) -> None:
    url = make_url(forum).set(database="no_such_database_here")
    report = measure_statements(url, statements(forum, "thread"))
    assert report.skipped and "\n" not in report.skipped
    assert "no_such_database_here" in report.skipped
    nobody = make_url(forum).set(password=f"{CANARY}-pass")
    refused = measure_statements(nobody, statements(forum, "thread"))
    assert refused.skipped and CANARY not in refused.skipped


RUN = """
import json, sys
sys.path[:0] = json.loads(sys.argv[1])
import pickle
from sqlalchemy import make_url
from toolkit.queries.plans import measure_statements
statements = pickle.loads(bytes.fromhex(sys.stdin.readline()))
url = make_url(sys.stdin.readline().strip())
measure_statements(url, statements, say=lambda words: print(words, flush=True))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_run_that_is_ended_leaves_no_scratch_database(
    number: signal.Signals, forum: str, tmp_path: Path
) -> None:
    import json
    import pickle

    found = statements(forum, "thread", "login", "search")
    scripts = str(Path(__file__).resolve().parents[2] / "scripts")
    process = subprocess.Popen(
        [sys.executable, "-c", RUN, json.dumps([scripts])],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )  # fmt: skip
    assert process.stdin and process.stdout
    process.stdin.write(f"{pickle.dumps(found).hex()}\n{forum}\n")
    process.stdin.flush()
    for line in process.stdout:
        if line.startswith("trying indexes"):
            break
    names = f"SELECT datname FROM pg_database WHERE datname LIKE '{PREFIX}%'"
    assert len(capture.script(forum, names)) == 1
    process.send_signal(number)
    process.stdin.close()
    more = process.stdout.read()
    assert process.wait(30) != 0
    assert more.count("trying indexes") < 2  # it does not go on
    process.stdout.close()
    if number == signal.SIGKILL:  # the next run finds it
        with open_scratch("postgresql", server_url=make_url(forum)):
            pass
    assert capture.script(forum, names) == []
    assert list(tmp_path.iterdir()) == []
