"""--expand-contract: the written revisions run up and down, with old code writing in between."""

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

import migration_examples as example
from corpus.runner import Workplace
from toolkit.database.catalog import Catalog, read_catalog
from toolkit.database.catalog.compare import differences, round_trip
from toolkit.migration.expand_contract import (
    AddCheck,
    AddForeignKey,
    AddIndex,
    AddRequiredColumn,
    AddUnique,
    Change,
    ChangeType,
    Column,
    DropColumn,
    Index,
    Late,
    NotPossible,
    RenameColumn,
    RenameTable,
    RevisionText,
    SetNotNull,
    Table,
    expand_contract,
    expand_contract_all,
)
from toolkit.migration.expand_contract.columns import NOTHING
from toolkit.migration.review import findings_of
from toolkit.report.finding import Verdict

pytestmark = pytest.mark.any_sqlalchemy

PERSON = Table("person")
NAME = Column("name", "sa.String(100)", "VARCHAR(100)")
BASE = """
op.create_table('team', sa.Column('id', sa.Integer, primary_key=True))
op.create_table(
    'person',
    sa.Column('id', sa.Integer, primary_key=True),
    sa.Column('name', sa.String(100)),
    sa.Column('nick', sa.String(100), nullable=False),
    sa.Column('state', sa.String(20), server_default='new', nullable=False),
    sa.Column('score', sa.Integer, nullable=False),
    sa.Column('team_id', sa.Integer),
    sa.UniqueConstraint('nick', name='uq_person_nick'),
)
op.create_table(
    'seat',
    sa.Column('row', sa.Integer, primary_key=True, autoincrement=False),
    sa.Column('place', sa.String(5), primary_key=True),
    sa.Column('Guest name', sa.String(50)),
)
"""
ROWS = (
    "INSERT INTO team (id) VALUES (1)",
    "INSERT INTO person (id, name, nick, score, team_id) VALUES "
    "(1, 'Ada', 'ada', 10, 1), (2, NULL, 'bob', 20, NULL), (3, 'Cleo', 'cleo', 30, 1)",
)


FIRST = """
import sqlalchemy as sa
from alembic import op
revision = "r1"
down_revision = None
def upgrade():
    {}
def downgrade():
    pass
"""


class Deploy:
    """A project at its first revision, and the files of one change."""

    def __init__(self, folder: Path, url: str, change: Change, base: str = BASE) -> None:
        self.url = url
        self.dialect = url.partition("+")[0]
        history = folder / "written"
        history.mkdir(parents=True)
        lines = base.strip().replace("\n", "\n    ")
        (history / "r1.py").write_text(FIRST.format(lines))
        self.revisions = expand_contract(
            change, dialect=self.dialect, parent="r1", slug="a_change_with_a_long_name"
        )
        for revision in self.revisions:
            (history / revision.file).write_text(revision.text)
        # One connection for all that is asked in between: its server process has the catalog read.
        driver = {"postgresql": "psycopg", "mysql": "pymysql", "sqlite": "pysqlite"}[self.dialect]
        address = make_url(url).set(drivername=f"{self.dialect}+{driver}")
        self.engine = create_engine(address, pool_size=1, max_overflow=0)
        self.versions = folder / "a project" / "alembic" / "versions"
        self.config = example.make_project(folder / "a project", url, history)
        command.upgrade(self.config, "r1")
        self.shapes: list[Catalog] = []

    def start(self) -> "Deploy":
        self.sql(*ROWS)
        self.shapes = [self.shape()]
        return self

    def sql(self, *statements: str) -> list[tuple[Any, ...]]:
        """Run statements in one transaction; the rows of the last."""
        rows: list[tuple[Any, ...]] = []
        with self.engine.begin() as connection:
            for statement in statements:
                result = connection.execute(text(statement))
                rows = [tuple(row) for row in result] if result.returns_rows else []
        return rows

    def shape(self) -> Catalog:
        """The schema, triggers included."""
        with self.engine.connect() as connection:
            return read_catalog(connection)

    def up(self, *statements: str) -> list[tuple[Any, ...]]:
        """The next revision, then these statements: the rows of the last."""
        command.upgrade(self.config, "+1")
        self.shapes.append(self.shape())
        return self.sql(*statements) if statements else []

    def refused(self, way: Callable[[Config, str], object], target: str) -> str:
        with pytest.raises(Exception) as caught:
            way(self.config, target)
        return str(caught.value)

    def down(self, *statements: str) -> list[tuple[Any, ...]]:
        """Undo a revision: the schema is the one before it."""
        command.downgrade(self.config, "-1")
        upper = self.shapes.pop()
        assert round_trip(self.shapes[-1], upper, self.shape()) == []
        return self.sql(*statements) if statements else []

    def round_trip(self) -> None:
        """All the way down from the head, step by step, and up again in one command."""
        shapes = list(self.shapes)
        for _ in self.revisions:
            self.down()
        assert len(self.shapes) == 1
        command.upgrade(self.config, "head")
        assert differences(shapes[-1], self.shape()) == []
        self.shapes = shapes


@pytest.fixture
def closing() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def deploy(
    tmp_path: Path, dialect: str, make_database: Callable[[str], str], closing: ExitStack
) -> Callable[[Change], Deploy]:
    def make(change: Change) -> Deploy:
        made = Deploy(tmp_path, make_database(dialect), change)
        closing.callback(made.engine.dispose)
        return made.start()

    return make


def test_rename_of_a_nullable_column(deploy: Callable[[Change], Deploy]) -> None:
    run = deploy(RenameColumn(PERSON, NAME, "full_name"))
    both = "SELECT id, name, full_name FROM person ORDER BY id"
    assert run.up(
        "INSERT INTO person (id, name, nick, score) VALUES (4, 'Old', 'd', 1)",
        "INSERT INTO person (id, full_name, nick, score) VALUES (5, 'New', 'e', 1)",
        "UPDATE person SET name = 'Bob' WHERE id = 2",
        both,
    ) == [(1, "Ada", None), (2, "Bob", "Bob"), (3, "Cleo", None), (4, "Old", "Old"),
          (5, "New", "New")]  # fmt: skip
    assert run.up(
        "UPDATE person SET full_name = 'Newer' WHERE id = 4",
        "UPDATE person SET name = NULL WHERE id = 5",
        both,
    ) == [(1, "Ada", "Ada"), (2, "Bob", "Bob"), (3, "Cleo", "Cleo"), (4, "Newer", "Newer"),
          (5, None, None)]  # fmt: skip
    names = "SELECT full_name FROM person ORDER BY id"
    assert run.up(names) == [("Ada",), ("Bob",), ("Cleo",), ("Newer",), (None,)]
    assert run.down(both)[3] == (4, "Newer", "Newer")
    run.sql("UPDATE person SET name = 'Again' WHERE id = 1")
    assert run.up(names)[0] == ("Again",)
    run.round_trip()
    assert run.sql(names)[0] == ("Again",)


def test_a_row_that_is_not_copied_back_yet_keeps_its_value(
    deploy: Callable[[Change], Deploy],
) -> None:
    """On the way back new code changes another column of a row before the copy comes to it."""
    run = deploy(RenameColumn(PERSON, NAME, "full_name"))
    for _ in run.revisions:
        run.up()
    contract: dict[str, Any] = {}
    exec(compile(run.revisions[-1].text, "contract", "exec"), contract)
    run.sql("ALTER TABLE person ADD name VARCHAR(100)", *contract["CREATE_TRIGGERS"])
    both = "SELECT name, full_name FROM person WHERE id = 1"
    assert run.sql("UPDATE person SET score = 11 WHERE id = 1", both)[0][1] == "Ada"
    assert run.sql("UPDATE person SET name = NULL WHERE id = 1", both)[0] == (
        ("Ada", "Ada") if run.dialect == "sqlite" else (None, None)
    )


@pytest.mark.dialects("postgresql", "mysql")
def test_rename_of_a_required_unique_column(deploy: Callable[[Change], Deploy]) -> None:
    index = Index("uq_person_nick", ("nick",), unique=True, constraint=True)
    old = Column("nick", "sa.String(100)", "VARCHAR(100)", nullable=False)
    run = deploy(RenameColumn(PERSON, old, "alias", (index,)))
    assert run.up(
        "INSERT INTO person (id, nick, score) VALUES (4, 'old', 1)",
        "INSERT INTO person (id, alias, score) VALUES (5, 'new', 1)",
        "SELECT nick, alias FROM person WHERE id > 2 ORDER BY id",
    ) == [("cleo", None), ("old", "old"), ("new", "new")]
    assert run.up("SELECT alias FROM person WHERE id = 1") == [("ada",)]
    run.up("INSERT INTO person (id, alias, score) VALUES (6, 'last', 1)")
    with pytest.raises(Exception, match=r"(?i)duplicate|unique"):
        run.sql("INSERT INTO person (id, alias, score) VALUES (7, 'last', 1)")
    with pytest.raises(Exception, match=r"(?i)null|default"):
        run.sql("INSERT INTO person (id, score) VALUES (7, 1)")
    run.round_trip()


def test_rename_of_a_column_with_a_default(
    deploy: Callable[[Change], Deploy], dialect: str
) -> None:
    old = Column("state", "sa.String(20)", "VARCHAR(20)", nullable=False, default="'new'")
    change = RenameColumn(PERSON, old, "status")
    if dialect == "sqlite":
        with pytest.raises(NotPossible, match=r"NOT NULL.*service is stopped"):
            deploy(change)
        return
    run = deploy(change)
    both = "SELECT state, status FROM person WHERE id > 2 ORDER BY id"
    assert run.up(
        "INSERT INTO person (id, nick, score) VALUES (4, 'd', 1)",
        "INSERT INTO person (id, nick, score, status) VALUES (5, 'e', 1, 'paid')",
        "INSERT INTO person (id, nick, score, state) VALUES (6, 'f', 1, 'gone')",
        both,
    ) == [("new", None), ("new", "new"), ("paid", "paid"), ("gone", "gone")]
    run.up()
    assert run.up(
        "INSERT INTO person (id, nick, score) VALUES (7, 'g', 1)",
        "SELECT status FROM person WHERE id > 5 ORDER BY id",
    ) == [("gone",), ("new",)]
    assert run.down("INSERT INTO person (id, nick, score) VALUES (8, 'h', 1)", both)[-1] == (
        "new",
        "new",
    )
    run.up()
    run.round_trip()


@pytest.mark.dialects("postgresql", "mysql")
def test_type_change(deploy: Callable[[Change], Deploy], dialect: str) -> None:
    score = Column("score", "sa.Integer()", "INTEGER", nullable=False)
    run = deploy(ChangeType(PERSON, score, "sa.BigInteger()", "BIGINT"))
    both = "SELECT score, score_new FROM person WHERE id > 2 ORDER BY id"
    assert run.up(
        "INSERT INTO person (id, nick, score) VALUES (4, 'd', 40)",
        "UPDATE person SET score = 11 WHERE id = 1",
        both,
    ) == [(30, None), (40, 40)]
    assert run.up("SELECT score_new FROM person ORDER BY id") == [(11,), (20,), (30,), (40,)]
    assert run.up(
        "UPDATE person SET score = 3000000000 WHERE id = 4",
        "SELECT score FROM person ORDER BY id",
    )[-1] == (3000000000,)
    failed = run.refused(command.downgrade, "-1")
    assert "out of range" in failed.lower()


@pytest.mark.dialects("postgresql", "mysql")
def test_type_change_and_back(deploy: Callable[[Change], Deploy]) -> None:
    score = Column("score", "sa.Integer()", "INTEGER", nullable=False)
    run = deploy(ChangeType(PERSON, score, "sa.BigInteger()", "BIGINT"))
    for _ in run.revisions:
        run.up()
    both = "SELECT score, score_new FROM person ORDER BY id"
    assert run.down("UPDATE person SET score = 12 WHERE id = 1", both) == [
        (12, 12),
        (20, 20),
        (30, 30),
    ]
    run.up()
    run.round_trip()
    assert run.sql("SELECT score FROM person ORDER BY id") == [(12,), (20,), (30,)]


@pytest.mark.dialects("postgresql", "mysql")
def test_type_change_with_an_expression_and_a_default(
    deploy: Callable[[Change], Deploy], dialect: str
) -> None:
    state = Column("state", "sa.String(20)", "VARCHAR(20)", nullable=False, default="'new'")
    using = {"postgresql": "length({})", "mysql": "CHAR_LENGTH({})"}[dialect]
    back = "repeat('x', {})"
    change = ChangeType(PERSON, state, "sa.Integer()", "INTEGER", using, back)
    with pytest.raises(ValueError, match="default"):
        expand_contract(change, dialect=dialect, parent="r1", slug="c")
    run = deploy(ChangeType(PERSON, state, "sa.Integer()", "INTEGER", using, back, "7"))
    run.up("INSERT INTO person (id, nick, score, state) VALUES (4, 'd', 1, 'paid')")
    run.up()
    assert run.up(
        "INSERT INTO person (id, nick, score) VALUES (5, 'e', 1)",
        "SELECT state FROM person ORDER BY id",
    ) == [(3,), (3,), (3,), (4,), (7,)]
    run.down("SELECT state FROM person ORDER BY id")
    assert run.sql("SELECT state FROM person WHERE id = 4") == [("xxxx",)]
    run.up()
    run.round_trip()


def test_not_null(deploy: Callable[[Change], Deploy], dialect: str) -> None:
    fill = {"mysql": "CONCAT('p', {row}id)"}.get(dialect, "'p' || {row}id")
    run = deploy(SetNotNull(PERSON, NAME, fill))
    names = "SELECT name FROM person ORDER BY id"
    if dialect != "sqlite":
        assert run.up(
            "INSERT INTO person (id, name, nick, score) VALUES (4, NULL, 'd', 1)",
            "INSERT INTO person (id, nick, score) VALUES (5, 'e', 1)",
            "UPDATE person SET name = NULL WHERE id = 3",
            names,
        ) == [("Ada",), (None,), ("p3",), ("p4",), ("p5",)]
    assert run.up(names)[1] == ("p2",)
    run.up()
    with pytest.raises(Exception, match=r"(?i)null"):
        run.sql("UPDATE person SET name = NULL WHERE id = 1")
    run.round_trip()


@pytest.mark.parametrize("constant", [True, False])
def test_required_column(deploy: Callable[[Change], Deploy], dialect: str, constant: bool) -> None:
    size = Column("size", "sa.Integer()", "INTEGER", nullable=False)
    fill = "5" if constant else "{row}id * 2"
    change = AddRequiredColumn(PERSON, size, fill, constant)
    if dialect == "sqlite" and not constant:
        with pytest.raises(NotPossible, match="row to row"):
            deploy(change)
        return
    run = deploy(change)
    while run.revisions[len(run.shapes) - 1].revision != run.revisions[-1].revision:
        number = len(run.shapes) + 10
        run.up(f"INSERT INTO person (id, nick, score) VALUES ({number}, 'n{number}', 1)")
    sizes = dict(run.up("SELECT id, size FROM person"))
    assert set(sizes) >= {1, 2, 3, 11}
    assert sizes == {key: 5 if constant else int(str(key)) * 2 for key in sizes}
    if dialect != "sqlite":
        with pytest.raises(Exception, match=r"(?i)null|default"):
            run.sql("INSERT INTO person (id, nick, score) VALUES (90, 'z', 1)")
    run.round_trip()


def test_dropped_column(deploy: Callable[[Change], Deploy], dialect: str) -> None:
    score = Column("score", "sa.Integer()", "INTEGER", nullable=False)
    with pytest.raises(ValueError, match="say what old code reads"):
        expand_contract(DropColumn(PERSON, score), dialect=dialect, parent=None, slug="x")
    change = DropColumn(PERSON, score, "0")
    if dialect == "sqlite":
        with pytest.raises(NotPossible, match="copies the table"):
            written(change, dialect)
        change = DropColumn(PERSON, NAME)
    run = deploy(change)
    if dialect != "sqlite":
        assert run.up(
            "INSERT INTO person (id, nick) VALUES (4, 'd')",
            "SELECT score FROM person WHERE id IN (3, 4) ORDER BY id",
        ) == [(30,), (0,)]
    run.up()
    run.round_trip()


@pytest.mark.dialects("postgresql", "mysql")
@pytest.mark.parametrize("name", ["nick", "alias"])
def test_indexes_keep_their_names(
    deploy: Callable[[Change], Deploy], dialect: str, name: str
) -> None:
    """On a column that changes its type, and on a renamed one: one name, two columns."""
    nick = Column("nick", "sa.String(100)", "VARCHAR(100)", nullable=False)
    indexes = (Index("uq_person_nick", ("nick",), True, dialect == "postgresql"),)
    rename = RenameColumn(PERSON, nick, "alias", indexes, ("uq_person_nick",))
    retype = ChangeType(PERSON, nick, "sa.String(200)", "VARCHAR(200)", indexes=indexes)
    run = deploy(rename if name == "alias" else retype)
    for _ in run.revisions:
        run.up()
    with pytest.raises(Exception, match="uq_person_nick"):
        run.sql(f"UPDATE person SET {name} = 'ada'")
    run.round_trip()
    same = RenameColumn(PERSON, NAME, "alias", (Index("ix", ("name",)),), ("ix",))
    with pytest.raises(NotPossible, match="keeps its name"):
        expand_contract(same, dialect="sqlite", parent=None, slug="x")


@pytest.mark.dialects("postgresql")
def test_a_type_that_is_made_first(deploy: Callable[[Change], Deploy]) -> None:
    made = "CREATE TYPE mood AS ENUM ('good', 'bad')", "DROP TYPE mood"
    source = "sa.Enum('good', 'bad', name='mood')"
    column = Column("mood", source, "mood", False, None, *made)
    run = deploy(AddRequiredColumn(PERSON, column, "'good'"))
    for _ in run.revisions:
        run.up()
    assert run.sql("SELECT DISTINCT mood::text FROM person") == [("good",)]
    run.round_trip()
    while len(run.shapes) > 1:
        run.down()
    assert run.sql("SELECT typname FROM pg_type WHERE typname = 'mood'") == []


@pytest.mark.dialects("postgresql")
def test_required_column_with_a_default_of_its_own(deploy: Callable[[Change], Deploy]) -> None:
    token = Column("token", "sa.Uuid()", "UUID", nullable=False, default="gen_random_uuid()")
    run = deploy(AddRequiredColumn(PERSON, token, "gen_random_uuid()", constant=False))
    for _ in run.revisions:
        run.up()
    run.sql("INSERT INTO person (id, nick, score) VALUES (4, 'd', 1)")
    assert run.sql("SELECT count(DISTINCT token) FROM person") == [(4,)]
    run.round_trip()


@pytest.mark.dialects("postgresql", "mysql")
def test_several_changes_share_one_deploy(dialect: str) -> None:
    """What old code can live with comes first, of all of them."""
    changes = [
        RenameColumn(PERSON, NAME, "full_name"),
        SetNotNull(PERSON, Column("team_id", "sa.Integer()", "INTEGER"), "1"),
        Late("Drop team", "code without it.", ("op.drop_table('seat')",), ("pass",)),
        AddIndex(PERSON, Index("ix_person_score", ("score",))),
    ]
    revisions = expand_contract_all(changes, dialect=dialect, parent="r1", slug="several")
    late = [revision.deploy != NOTHING for revision in revisions]
    assert late == [False] * 5 + [True] * 3
    assert [one.down_revision for one in revisions[1:]] == [one.revision for one in revisions[:-1]]
    needs = ["import app.money", "from app.types import Cents", "import app.other"]
    cents = Column("cents", "Cents()", "INTEGER", nullable=False)
    (one, _) = expand_contract_all(
        [AddRequiredColumn(PERSON, cents, "0")], dialect=dialect, parent=None, slug="x", needs=needs
    )
    assert "from app.types import Cents" in one.text
    assert "app.money" not in one.text


@pytest.mark.dialects("postgresql", "mysql")
def test_renamed_table(deploy: Callable[[Change], Deploy], dialect: str) -> None:
    run = deploy(RenameTable(PERSON, "human"))
    assert run.up(
        "INSERT INTO human (id, nick, score) VALUES (4, 'd', 1)",
        "INSERT INTO person (id, nick, score) VALUES (5, 'e', 1)",
        "UPDATE human SET score = 2 WHERE id = 5",
        "SELECT id, score, state FROM person WHERE id > 3 ORDER BY id",
    ) == [(4, 1, "new"), (5, 2, "new")]
    assert run.up("SELECT count(*) FROM human") == [(5,)]
    run.round_trip()


@pytest.mark.dialects("postgresql", "mysql")
def test_foreign_key(deploy: Callable[[Change], Deploy], dialect: str) -> None:
    change = AddForeignKey(
        PERSON, "fk_person_team", ("team_id",), "team", ("id",), options={"ondelete": "SET NULL"}
    )
    run = deploy(change)
    run.sql("UPDATE person SET team_id = 9 WHERE id = 3")
    run.up()
    with pytest.raises(Exception, match=r"(?i)foreign key"):
        run.sql("UPDATE person SET team_id = 8 WHERE id = 1")
    refused = run.refused(command.upgrade, "+1")
    assert "1 rows of person have no parent in team" in refused
    run.sql("UPDATE person SET team_id = NULL WHERE id = 3")
    run.up()
    run.round_trip()


@pytest.mark.dialects("postgresql")
def test_check(deploy: Callable[[Change], Deploy]) -> None:
    run = deploy(AddCheck(PERSON, "ck_person_score", "score >= 0 AND nick <> 'a:b'"))
    run.sql("UPDATE person SET score = -1 WHERE id = 3")
    run.up()
    assert "1 rows of person break" in run.refused(command.upgrade, "+1")
    run.sql("UPDATE person SET score = 1 WHERE id = 3")
    run.up()
    assert run.sql("SELECT convalidated FROM pg_constraint WHERE conname LIKE 'ck_%'")
    run.round_trip()


def test_unique(deploy: Callable[[Change], Deploy]) -> None:
    run = deploy(AddUnique(PERSON, "uq_person_name", ("name",)))
    run.sql("UPDATE person SET name = 'Ada' WHERE id = 3")
    refused = run.refused(command.upgrade, "+1")
    assert "1 values of person (name) are there twice" in refused
    run.sql("UPDATE person SET name = 'Cleo' WHERE id = 3")
    for _ in run.revisions:
        run.up()
    with pytest.raises(Exception, match=r"(?i)duplicate|unique"):
        run.sql("UPDATE person SET name = 'Ada' WHERE id = 3")
    run.round_trip()


def test_index(deploy: Callable[[Change], Deploy]) -> None:
    run = deploy(AddIndex(PERSON, Index("ix_person_name_score", ("name", "score"))))
    run.up()
    run.round_trip()


@pytest.mark.dialects("postgresql")
def test_the_rest_of_a_failed_index_build_is_replaced(deploy: Callable[[Change], Deploy]) -> None:
    run = deploy(AddIndex(PERSON, Index("ix_person_name", ("name",))))
    run.sql(
        "CREATE INDEX ix_person_name ON person (score)",
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'ix_person_name'::regclass",
    )
    run.up()
    assert run.sql(
        "SELECT indisvalid, pg_get_indexdef(indexrelid) LIKE '%(name)' FROM pg_index "
        "WHERE indexrelid = 'ix_person_name'::regclass"
    ) == [(True, True)]


def test_odd_names_and_a_key_of_two_columns(deploy: Callable[[Change], Deploy]) -> None:
    """More rows than a batch; quoted names; a name that does not fit."""
    guest = Column("Guest name", "sa.String(50)", "VARCHAR(50)")
    new = "name: of % the guest's " + "x" * 30
    run = deploy(RenameColumn(Table("seat", ("row", "place")), guest, new))
    dialect = run.dialect
    quote = ("`{}`" if dialect == "mysql" else '"{}"').format
    escaped = quote(new).replace(":", "\\:")
    names = ["NULL" if n % 7 == 0 else f"'g{n}'" for n in range(1200)]
    values = ", ".join(f"({n % 40}, '{n // 40}', {name})" for n, name in enumerate(names))
    run.sql(f"INSERT INTO seat ({quote('row')}, place, {quote('Guest name')}) VALUES {values}")
    run.up()
    run.up()
    counted = f"SELECT count(*) FROM seat WHERE {escaped} = {quote('Guest name')}"
    assert run.sql(counted) == [(1028,)]
    run.up()
    run.round_trip()


SCHEMA = """
op.execute('CREATE SCHEMA "Own"')
op.create_table(
    'thing', sa.Column('id', sa.Uuid, primary_key=True), sa.Column('a', sa.Text), schema='Own'
)
op.execute(
    'INSERT INTO "Own".thing SELECT gen_random_uuid(), i FROM generate_series(1, 1010) i'
)
"""
THING = Table("thing", ("id",), "Own")
TEXT = Column("a", "sa.Text()", "TEXT")
IN_A_SCHEMA: list[Change] = [
    RenameColumn(THING, TEXT, "b", (Index("ix_thing_a", ("a",)),), ("ix_thing_b",)),
    ChangeType(THING, TEXT, "sa.Integer()", "INTEGER"),
    AddForeignKey(THING, "fk_self", ("id",), "thing", ("id",), "Own"),
    AddUnique(THING, "uq_thing_a", ("a",)),
    AddCheck(THING, "ck_thing_a", "a <> ''"),
    SetNotNull(THING, TEXT, "''"),
    RenameTable(THING, "Thing"),
]


@pytest.mark.parametrize("change", IN_A_SCHEMA, ids=lambda change: type(change).__name__)
def test_table_of_a_schema(
    tmp_path: Path, make_database: Callable[[str], str], change: Change, closing: ExitStack
) -> None:
    run = Deploy(tmp_path, make_database("postgresql"), change, SCHEMA)
    closing.callback(run.engine.dispose)
    command.upgrade(run.config, "head")
    command.downgrade(run.config, "r1")
    command.upgrade(run.config, "head")
    table = "Thing" if isinstance(change, RenameTable) else "thing"
    assert run.sql(f'SELECT count(*) FROM "Own"."{table}"') == [(1010,)]
    if isinstance(change, RenameColumn):
        assert run.sql('SELECT count(*) FROM "Own".thing WHERE b IS NOT NULL') == [(1010,)]


@pytest.mark.dialects("postgresql", "mysql")
def test_a_killed_backfill_goes_on(deploy: Callable[[Change], Deploy], dialect: str) -> None:
    run = deploy(RenameColumn(PERSON, NAME, "full_name"))
    values = ", ".join(f"({n}, 'n{n}', 'k{n}', 0)" for n in range(10, 1210))
    run.sql(f"INSERT INTO person (id, name, nick, score) VALUES {values}")
    run.up()
    file = run.versions / run.revisions[1].file
    source = file.read_text()
    broken = source.replace("time.sleep(PAUSE)", "raise ValueError('killed')")
    assert broken != source
    file.write_text(broken)
    assert "killed" in run.refused(command.upgrade, "+1")
    done = "SELECT count(*) FROM person WHERE full_name IS NOT NULL"
    assert run.sql(done) == [(1000,)]
    file.write_text(source)
    run.up()
    assert run.sql(done) == [(1202,)]


ALL: dict[str, Change] = {
    "rename": RenameColumn(PERSON, NAME, "full_name"),
    "type": ChangeType(PERSON, NAME, "sa.Text()", "TEXT"),
    "not_null": SetNotNull(PERSON, NAME, "''"),
    "required": AddRequiredColumn(PERSON, Column("n", "sa.Integer()", "INTEGER", False), "0"),
    "drop": DropColumn(PERSON, NAME),
    "table": RenameTable(PERSON, "human"),
    "unique": AddUnique(PERSON, "uq_person_name", ("name",)),
    "key": AddForeignKey(PERSON, "fk_person_team", ("team_id",), "team", ("id",)),
    "check": AddCheck(PERSON, "ck_person_score", "score >= 0"),
    "index": AddIndex(PERSON, Index("ix_person_name", ("name",))),
}
NOT_POSSIBLE = {
    "postgresql": set[str](),
    "mysql": {"check"},
    "sqlite": {"type", "table", "key", "check"},
}


def written(change: Change, dialect: str) -> list[RevisionText]:
    return expand_contract(change, dialect=dialect, parent="abc", slug="slug")


@pytest.mark.parametrize("kind", ALL)
def test_what_a_database_cannot_do_is_said_in_one_line(kind: str, dialect: str) -> None:
    if kind not in NOT_POSSIBLE[dialect]:
        assert written(ALL[kind], dialect)
        return
    with pytest.raises(NotPossible) as caught:
        written(ALL[kind], dialect)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(("MySQL", "SQLite"))


def test_after_a_commit_the_table_is_locked_again() -> None:
    contract = written(SetNotNull(PERSON, NAME, "''"), "postgresql")[-1].text
    upgrade = contract.partition("def upgrade()")[2].partition("def downgrade()")[0]
    before, _, after = upgrade.partition("autocommit_block()")
    assert before.count("    lock(") == after.count("    lock(") == 1


def test_on_mysql_updates_get_their_trigger_first() -> None:
    """A row that was inserted without one is filled later; an updated one would stay wrong."""
    for change in (RenameColumn(PERSON, NAME, "title"), SetNotNull(PERSON, NAME, "''")):
        text = written(change, "mysql")[0].text
        assert re.findall(r"CREATE TRIGGER \w+_(insert|update)", text) == ["update", "insert"]


def test_the_files_are_a_chain_that_linters_accept(tmp_path: Path) -> None:
    count = 0
    for dialect, impossible in NOT_POSSIBLE.items():
        for kind in ALL.keys() - impossible:
            parent = "abc"
            for revision in written(ALL[kind], dialect):
                assert revision.down_revision == parent
                parent = revision.revision
                assert revision.deploy.endswith(".")
                assert "\n" not in revision.deploy
                (tmp_path / f"{dialect}_{kind}_{revision.file}").write_text(revision.text)
                count += 1
                if dialect == "postgresql":
                    assert "lock_timeout" in revision.text or "CREATE VIEW" in revision.text
                    assert ("def lock(" in revision.text) is (" lock(" in revision.text)
    assert count > 40
    result = subprocess.run(
        [
            sys.executable, "-m", "ruff", "check", "--isolated", "--line-length", "100",
            "--select", "E,F,W,I,B,UP", str(tmp_path),
        ],
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stdout


OWN_BASE = """
op.create_table(
    'person_{kind}',
    sa.Column('id', sa.Integer, primary_key=True),
    sa.Column('name', sa.String(100)),
    sa.Column('score', sa.Integer, nullable=False),
    sa.Column('team_id', sa.Integer),
)
"""
LAST: dict[str, set[str]] = {
    "rename": {"drop-column"},
    "type": {"drop-column", "rename-column"},
    "drop": {"drop-column"},
    "table": {"rename-table", "drop-view"},
    "required": {"drop-default"},
}


@pytest.mark.dialects("postgresql", "mysql")
def test_our_own_review_agrees(
    tmp_path: Path, dialect: str, make_database: Callable[[str], str]
) -> None:
    """Nothing before the last step of a change fails, blocks, loses data or breaks old code.

    Each change has a table of its own, so that one history has all of them (#10).
    """
    kinds = [kind for kind in ALL if kind not in NOT_POSSIBLE[dialect]]
    folder = tmp_path / dialect
    folder.mkdir()
    base = "\nop.create_table('team', sa.Column('id', sa.Integer, primary_key=True))"
    base += "".join(OWN_BASE.format(kind=kind) for kind in kinds)
    (folder / "r1.py").write_text(FIRST.format(base.strip().replace("\n", "\n    ")))
    parent, expected = "r1", dict[str, set[str]]()
    for kind in kinds:
        change = replace(ALL[kind], table=Table(f"person_{kind}"))
        revisions = expand_contract(change, dialect=dialect, parent=parent, slug=kind)
        for revision in revisions:
            (folder / revision.file).write_text(revision.text)
        parent = revisions[-1].revision
        expected[parent] = LAST.get(kind, set())
    place = Workplace(tmp_path / "p", folder)
    url = make_database(dialect)
    place.run("upgrade", "r1", url=url)
    report = place.run("upgrade", "head", url=url)
    assert "error" not in report, report["error"]
    findings = findings_of(report["trace"])
    loud = {
        (f.rule, f.revision)
        for f in findings
        if f.verdict.rank < Verdict.BRIEF_LOCK.rank
        and f.rule not in expected.get(str(f.revision), set())
    }
    assert loud == set()
    assert any(f.rule == "drop-column" for f in findings), "it has looked at them"
