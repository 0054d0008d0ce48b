"""optimize-queries on MySQL and MariaDB, where a schema is another database."""

from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest
from sqlalchemy import make_url

from harm.asking import also
from harm.production import CRM, SHOP, Production
from projects import plans_capture as capture
from toolkit.queries.plans import measure_statements
from toolkit.queries.plans.bench import Clock
from toolkit.queries.plans.job import Job
from toolkit.queries.plans.model import Limits, PlansReport
from toolkit.queries.plans.mysql import source
from toolkit.queries.plans.mysql.run import made_table
from toolkit.queries.plans.mysql.source import alone

pytestmark = [pytest.mark.dialects("mysql"), pytest.mark.any_sqlalchemy]
# MyISAM: what is written there is not rolled back.
KEEPER = (
    f"CREATE TABLE {CRM}.kept (line varchar(90)) ENGINE=MyISAM",
    f"CREATE FUNCTION {CRM}.keep(line varchar(90)) RETURNS int MODIFIES SQL DATA"
    f" BEGIN INSERT INTO {CRM}.kept VALUES (line); RETURN 1; END",
    f"CREATE FUNCTION {SHOP}.split_part(line varchar(90)) RETURNS int MODIFIES SQL DATA"
    f" BEGIN RETURN {CRM}.keep(line); END",
)
NO_KEEPER = (
    f"DROP FUNCTION {SHOP}.split_part",
    f"DROP FUNCTION {CRM}.keep",
    f"DROP TABLE {CRM}.kept",
)


def measured(
    production: Production, *statements: Any, say: Callable[[str], None] = lambda _: None
) -> PlansReport:
    return measure_statements(make_url(production.url), statements, say=say)


@pytest.mark.parametrize(
    ("sql", "name"),
    [
        (f"SELECT id, {CRM}.keep(name) AS kept FROM customers WHERE id < %s", "keep"),
        (f"UPDATE customers SET name = `{CRM}`.`keep`(name) WHERE id < %s", "keep"),
        (f"DELETE FROM customers WHERE id < %s AND {CRM}.keep(name) = 2", "keep"),
        # sqlglot knows it, as another database's own function.
        (f"SELECT {SHOP}.split_part(name) FROM customers WHERE id < %s", "split_part"),
    ],
)
def test_a_stored_function_is_not_called(production: Production, sql: str, name: str) -> None:
    with also(production, KEEPER, NO_KEEPER):
        report = measured(production, capture.statement(sql, 3))
    words = f"app/crud.py:10: not measured: it calls {name}, and what that does beyond giving a"
    assert report.notes == (f"{words} value is not known",)


def test_functions_of_the_server_are_plain(production: Production) -> None:
    calls = (
        "SYSDATE(), ST_Distance(POINT(1, 2), POINT(id, 3)), SOUNDEX(name), RAND(3),"
        " INET6_ATON(name), JSON_CONTAINS(name, name), CHARSET(name), IF(id, 1, 2)"
    )
    sql = f"SELECT {calls} FROM customers WHERE name = %s"
    report = measured(production, capture.statement(sql, "x"))
    assert report.notes == () and len(report.measured) == 1


def test_what_comes_after_a_semicolon_is_not_sent(production: Production) -> None:
    """Whether a driver sends it or not."""
    sql = f"SELECT id FROM customers WHERE id = %s--1; COMMIT; DELETE FROM {CRM}.archive"
    report = measured(production, capture.statement(sql, 3))
    assert production.harm() == []
    assert report.notes == ("app/crud.py:10: not measured: it is several statements",)


def test_a_comment_that_the_server_runs_is_no_comment(production: Production) -> None:
    sql = (
        f"UPDATE customers /*!, {CRM}.archive */ SET customers.name = 'x'"
        f" /*!, {CRM}.archive.note = 'gone' */ WHERE customers.id = %s"
    )
    report = measured(production, capture.statement(sql, 3))
    assert production.harm() == []
    assert "it has a comment that the server runs" in report.notes[0]


def test_a_table_of_the_own_database_by_its_full_name(production: Production) -> None:
    """It is measured on the copy; the one of that name is not touched."""
    report = measured(
        production,
        capture.statement(f"UPDATE {SHOP}.customers SET name = %s WHERE name > %s", "x", "a"),
        capture.statement(
            f"SELECT `{SHOP}`.customers.id FROM `{SHOP}`.`customers` WHERE id = %s", 3
        ),
        capture.statement(f"SELECT {SHOP}.name FROM {SHOP}.customers {SHOP} WHERE id = %s", 3),
    )
    assert production.harm() == []
    assert [one.shape.split()[0] for one in report.measured] == ["SELECT", "UPDATE"]
    # An alias of this name means something else.
    [note] = report.notes
    assert f"it reads {SHOP}.customers, which is no table of this database" in note


def test_a_table_of_another_database_is_left_out(production: Production) -> None:
    sql = f"UPDATE customers c JOIN {CRM}.archive a ON a.id = c.id SET a.note = %s WHERE c.id = %s"
    report = measured(production, capture.statement(sql, "gone", 1))
    assert production.harm() == []
    assert f"it reads {CRM}.archive, which is no table of this database" in report.notes[0]


def test_a_merge_table_is_another_one(production: Production) -> None:
    made = (
        f"CREATE TABLE {CRM}.old_lines (id int, note varchar(90)) ENGINE=MyISAM",
        f"INSERT INTO {CRM}.old_lines VALUES (1, 'old'), (2, 'older')",
        f"CREATE TABLE {SHOP}.all_lines (id int, note varchar(90)) ENGINE=MERGE"
        f" UNION=({CRM}.old_lines) INSERT_METHOD=LAST",
    )
    gone = (f"DROP TABLE {SHOP}.all_lines", f"DROP TABLE {CRM}.old_lines")
    with also(production, made, gone):
        report = measured(
            production, capture.statement("SELECT note FROM all_lines WHERE id = %s", 2)
        )
    assert "it reads all_lines, which is no table of this database that" in report.notes[0]


def test_a_sequence_gives_no_number(production: Production) -> None:
    if "mariadb" not in capture.script(production.url, "SELECT lower(version())")[0][0]:
        pytest.skip("MySQL has no sequences")
    made = (
        f"CREATE SEQUENCE {SHOP}.numbers NOCACHE",
        f"CREATE TABLE {SHOP}.tickets (id int PRIMARY KEY, note varchar(90) NOT NULL,"
        f" number bigint DEFAULT nextval({SHOP}.numbers))",
        f"INSERT INTO {SHOP}.tickets (id, note) VALUES (1, 'a'), (2, 'b'), (3, 'c')",
    )
    gone = (f"DROP TABLE {SHOP}.tickets", f"DROP SEQUENCE {SHOP}.numbers")
    with also(production, made, gone):
        next_number = f"SELECT next_not_cached_value, cycle_count FROM {SHOP}.numbers"
        before = capture.script(production.url, next_number)
        report = measured(
            production,
            capture.statement("UPDATE tickets SET number = DEFAULT WHERE id < %s", 3),
            capture.statement(f"SELECT nextval({SHOP}.numbers) FROM tickets WHERE id < %s", 3),
            capture.statement(f"SELECT NEXT VALUE FOR {SHOP}.numbers FROM tickets"),
            capture.statement("SELECT note FROM tickets WHERE number = %s", 2),
        )
        assert capture.script(production.url, next_number) == before
        rows = capture.script(production.url, f"SELECT id, number FROM {SHOP}.tickets")
    assert rows == [(1, 1), (2, 2), (3, 3)]
    # The table itself is copied, without its default.
    assert [one.shape for one in report.measured] == ["SELECT note FROM tickets WHERE number = %s"]


def test_a_copy_hinders_nobody_who_writes(production: Production) -> None:
    """A foreign key of a copy on the same server would hold the rows that it refers to."""
    made = (
        f"CREATE TABLE {SHOP}.visits (id int PRIMARY KEY, call_id int NOT NULL,"
        f" FOREIGN KEY (call_id) REFERENCES {CRM}.calls (id))",
        f"INSERT INTO {SHOP}.visits VALUES (1, 2), (2, 2), (3, 1)",
    )
    removed: list[int] = []

    def remove(words: str) -> None:
        if words.startswith("measuring"):
            with closing(connect()) as connection, connection.cursor() as cursor:
                cursor.execute(f"DELETE FROM {SHOP}.visits WHERE call_id = 2")
                removed.append(cursor.execute(f"DELETE FROM {CRM}.calls WHERE id = 2"))
                connection.rollback()

    def connect() -> Any:
        import pymysql

        url = make_url(production.superuser_url)
        return pymysql.connect(
            host=url.host, port=url.port or 3306, user=url.username, password=str(url.password)
        )

    with also(production, made, (f"DROP TABLE {SHOP}.visits",)):
        report = measured(
            production,
            capture.statement("SELECT id FROM visits WHERE call_id = %s", 2),
            say=remove,
        )
    assert removed == [1]
    assert len(report.measured) == 1


def test_nothing_is_made_on_the_given_server(production: Production) -> None:
    """Also by an account that may do all: its server is only read."""
    looks: list[list[str]] = []

    def look(_words: str) -> None:
        looks.append(production.harm())

    report = measure_statements(
        make_url(production.superuser_url),
        [capture.statement("SELECT id FROM customers WHERE name = %s", "x")],
        say=look,
    )
    assert len(report.measured) == 1 and report.notes == ()
    assert len(looks) >= 3 and looks == [[]] * len(looks)


def test_a_right_to_read_suffices(production: Production, monkeypatch: pytest.MonkeyPatch) -> None:
    """And it is said when the copy is on another server than the given one."""
    read = source.version

    def version(connection: Any) -> str:
        given = connection.engine.url.database == SHOP
        return "MySQL 5.7" if given else read(connection)

    monkeypatch.setattr(source, "version", version)
    made = ("CREATE USER harm_reading@'%' IDENTIFIED BY 'r'",
            f"GRANT SELECT ON {SHOP}.customers TO harm_reading@'%'")  # fmt: skip
    with also(production, made, ("DROP USER harm_reading@'%'",)):
        url = make_url(production.url).set(username="harm_reading", password="r")
        found = [capture.statement("SELECT id FROM customers WHERE name = %s", "x")]
        report = measure_statements(url, found)
    assert report.skipped is None and len(report.measured) == 1
    [note] = report.notes
    assert note.endswith("the given database is on MySQL 5.7: plans may differ")


def test_a_table_of_mysql_on_mariadb(make_database: Callable[[str], str]) -> None:
    """Where the scratch server is the other one, it may lack a collation."""
    url = make_database("mysql")
    ddl = "CREATE TABLE t (a varchar(9) COLLATE {0}) DEFAULT CHARSET=utf8mb4 COLLATE={0}"
    job = Job("mysql", Limits(), Clock(60), str, None)

    def make(connection: Any) -> tuple[str, str]:
        known = made_table(connection, ddl.format("utf8mb4_martian_ci"), job)
        return known, made_table(connection, "CREATE TABLE u (a nonsense)", job)

    assert capture.on_connection(url, make) == ("", "the server refuses it (error 4161)")
    assert job.notes.lines == [
        "the scratch server lacks a collation of the given one: it sorts otherwise"
    ]


def test_what_ties_a_table_to_others_is_not_made_again() -> None:
    ddl = """CREATE TABLE `visits` (
  `id` int(11) NOT NULL,
  `number` bigint(20) DEFAULT nextval(`shop`.`numbers`),
  `note` varchar(90) DEFAULT 'CONSTRAINT `x` FOREIGN KEY (`id`),',
  PRIMARY KEY (`id`),
  KEY `call_id` (`call_id`),
  CONSTRAINT `visits_ibfk_1` FOREIGN KEY (`call_id`) REFERENCES `crm`.`calls` (`id`)
) /*!50100 TABLESPACE `fast` */ ENGINE=InnoDB DEFAULT CHARSET=utf8mb4"""
    assert (
        alone(ddl)
        == """CREATE TABLE `visits` (
  `id` int(11) NOT NULL,
  `number` bigint(20),
  `note` varchar(90) DEFAULT 'CONSTRAINT `x` FOREIGN KEY (`id`),',
  PRIMARY KEY (`id`),
  KEY `call_id` (`call_id`)
)  ENGINE=InnoDB DEFAULT CHARSET=utf8mb4"""
    )
