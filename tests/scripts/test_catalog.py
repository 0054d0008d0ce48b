"""Catalogs: what they see, what makes no difference, and how they are read in a project."""

import json
import re
from collections.abc import AsyncIterator, Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import (
    CheckConstraint,
    Column,
    Computed,
    Connection,
    Enum,
    ForeignKey,
    Identity,
    Index,
    Integer,
    MetaData,
    Numeric,
    String,
    Table,
    UniqueConstraint,
    event,
    func,
    make_url,
    text,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import ExcludeConstraint
from sqlalchemy.orm import Mapped, mapped_column

import base_model
import user_model
from projects.schemas import Schemas, store
from projects.shop import Shop
from toolkit.database.alembic_process import run_alembic
from toolkit.database.catalog import differences, read_catalog, round_trip
from toolkit.database.catalog.reading import read_catalog_at
from toolkit.database.catalog.sqlite_text import parse_index, parse_table
from toolkit.database.scratch import execute, open_scratch
from toolkit.migration.missed import find_missed, preparation
from toolkit.project import read_project


class Parcel(base_model.VersionMixin, base_model.BaseModel):
    __tablename__ = "catalog_parcels"
    __table_args__ = (
        UniqueConstraint("shop", "number"),
        CheckConstraint("number > 0", name="positive"),
    )

    shop: Mapped[str] = mapped_column(String(50), index=True)
    number: Mapped[int]
    active: Mapped[bool | None] = base_model.active_marker()


@pytest.fixture
async def schemas(make_database: Callable[[str], str]) -> AsyncIterator[Schemas]:
    schemas = Schemas(make_database)
    yield schemas
    await schemas.close()


def copied(*tables: Any) -> MetaData:
    metadata = MetaData(naming_convention=base_model.NAMING_CONVENTION)
    for table in tables:
        table.to_metadata(metadata)
    return metadata


def user_models(dialect: str) -> MetaData:
    """As on this database: a copy forgets ddl_if, and what templates/env.py does about it."""
    names = ("roles", "users", "posts", "tags", "user_roles", "post_tags")
    tables = user_model.Base.metadata.tables
    metadata = copied(*(tables[name] for name in names))
    elsewhere = {"mysql": ("ix_users_name_lower", "ix_users_preferences")}
    elsewhere["sqlite"] = ("ix_users_preferences",)
    for index in [*metadata.tables["users"].indexes]:
        if index.name in elsewhere.get(dialect, ()):
            metadata.tables["users"].indexes.remove(index)
    return metadata


def unnamed(columns: int = 9) -> MetaData:
    """Names made up by the database, defaults and types that it rewrites."""
    metadata = MetaData()
    Table("parent", metadata, Column("id", Integer, primary_key=True))
    given = [
        Column("kind", Enum("x", "y", name="kind"), nullable=False, server_default="x"),
        Column("price", Numeric(10, 2), server_default="0"),
        Column("word", String(20), server_default="it's", unique=True),
        Column("at", sa.DateTime(), server_default=func.now()),
        Column("done", sa.Boolean(create_constraint=False), server_default=sa.false()),
        Column("data", sa.JSON()),
        Column("parent_id", ForeignKey("parent.id", ondelete="CASCADE")),
        Column("double", Integer, Computed("parent_id * 2", persisted=True)),
        Column("size", Integer, server_default=text("1"), comment="in metres"),
    ]
    Table(
        "child",
        metadata,
        Column("id", Integer, primary_key=True),
        *given[:columns],
        CheckConstraint("price > 0"),
        CheckConstraint("price < 9 OR price IN (10, 11)"),
        *([UniqueConstraint("word", "price")] if columns > 3 else []),
        *([Index("ix_child_at", "at", "size")] if columns > 8 else []),
        comment="children",
    )
    return metadata


def only_postgresql() -> MetaData:
    metadata = MetaData(naming_convention={"uq": "uq_%(table_name)s_%(column_0_name)s"})
    event.listen(metadata, "before_create", sa.DDL("CREATE SCHEMA IF NOT EXISTS billing"))
    sa.Sequence("numbers", start=100, metadata=metadata)
    Table(
        "bookings",
        metadata,
        Column("id", sa.BigInteger, Identity(always=True), primary_key=True),
        Column("during", postgresql.TSTZRANGE, nullable=False),
        Column("tags", postgresql.ARRAY(String(20)), server_default="{}"),
        Column("data", postgresql.JSONB, server_default=text("'{}'")),
        Column("state", String(10), server_default="new"),
        Column("code", String(10, collation="C"), unique=True),
        ExcludeConstraint((Column("during"), "&&")),
        CheckConstraint("state IN ('new', 'done')", name="ck_state"),
        Index("ix_data", "data", postgresql_using="gin"),
        Index(
            "ix_state",
            text("lower(state) varchar_pattern_ops"),
            postgresql_where=text("state IN ('new', 'x')"),
            postgresql_include=["code"],
        ),
    )
    if sa.__version__ >= "2.1":  # which can say it to autogenerate, too
        store(metadata.tables["bookings"], fillfactor=70)
    Table(
        "lines",
        metadata,
        Column("id", Integer, primary_key=True),
        Column("booking_id", ForeignKey("bookings.id", deferrable=True, initially="DEFERRED")),
        UniqueConstraint("booking_id", postgresql_nulls_not_distinct=True),
        schema="billing",
    )
    return metadata


SCHEMAS: dict[str, tuple[Callable[[str], MetaData], tuple[str, ...]]] = {
    "examples/user_model.py": (user_models, ("sqlite", "postgresql", "mysql")),
    "templates/base_model.py": (
        lambda _: copied(Parcel.__table__),
        ("sqlite", "postgresql", "mysql"),
    ),
    "unnamed": (lambda _: unnamed(), ("sqlite", "postgresql", "mysql")),
    "PostgreSQL's own": (lambda _: only_postgresql(), ("postgresql",)),
}


@pytest.mark.parametrize(
    ("server", "name"), [(one, name) for name, (_, servers) in SCHEMAS.items() for one in servers]
)
async def test_migrated_and_created_are_one_schema(
    schemas: Schemas, server: str, name: str
) -> None:
    metadata = SCHEMAS[name][0](server)
    url = schemas.new(server)
    if name == "PostgreSQL's own":
        await schemas.run(url, "CREATE SCHEMA billing", "CREATE SEQUENCE numbers START 100")
    source = await schemas.autogenerate(url, metadata, server)
    empty = await schemas.catalog(url)
    migrated = await schemas.migrate(url, source)
    wanted = await schemas.catalog(await schemas.made(server, metadata))
    assert json.loads(json.dumps(wanted)) == wanted
    assert len(wanted["column"]) > 4
    # An index on an expression, which Alembic does not look at on SQLite.
    unseen = ["ix_users_name_lower"] * (name == "examples/user_model.py" and server == "sqlite")
    assert [one.difference.after["name"] for one in find_missed(migrated, wanted)] == unseen
    assert len(differences(migrated, wanted, names=False, order=True)) == len(unseen)
    if server == "mysql":  # which refuses to drop what a foreign key needs; the tables go anyway
        source = re.sub(r"\n    op\.drop_index\(.*\)", "", source)
    downgraded = await schemas.migrate(url, source, "downgrade")
    left = round_trip(empty, migrated, downgraded)
    enums = {"enum"} if server == "postgresql" and name == "unnamed" else set()
    assert {one.kind for one in left} == enums, "an enum stays: Alembic's best-known trap"


@pytest.mark.parametrize("server", ["sqlite", "postgresql", "mysql"])
async def test_a_schema_that_grew_is_the_one_that_was_made_at_once(
    schemas: Schemas, server: str
) -> None:
    """Columns were added later, on SQLite in tables that were made anew."""
    url = await schemas.made(server, unnamed(2))
    before = await schemas.catalog(url)
    source = await schemas.autogenerate(url, unnamed(), server)
    if server == "sqlite":
        assert "batch_alter_table" in source
    number = count()
    source = re.sub(
        r"(op\.create_\w+)\(None", lambda found: f'{found[1]}("c{next(number)}"', source
    )
    migrated = await schemas.migrate(url, source)
    wanted = await schemas.catalog(await schemas.made(server, unnamed()))
    assert differences(before, migrated)
    missed = [one.words for one in find_missed(migrated, wanted)]
    # Batch mode loses a CHECK that has no name, which Alembic warns of.
    assert [words[:16] for words in missed] == ["check constraint"] * (2 * (server == "sqlite"))


async def test_reading_leaves_no_trace_and_does_not_depend_on_the_search_path(
    schemas: Schemas,
) -> None:
    url = await schemas.made("postgresql", only_postgresql())

    def read_twice(connection: Connection) -> Any:
        one = read_catalog(connection)
        connection.exec_driver_sql("SET search_path = billing")
        other = read_catalog(connection)
        return one, other, connection.exec_driver_sql("SHOW search_path").scalar_one()

    one, other, path = await schemas.on(url, read_twice)
    assert differences(one, other) == []
    assert path == "billing"
    assert differences(one, read_catalog_at(make_url(url))) == []


async def test_extensions_and_version_tables_are_not_the_schema(schemas: Schemas) -> None:
    url = schemas.new("postgresql")
    before = await schemas.catalog(url)
    await schemas.run(url, "CREATE TABLE my_versions (version_num varchar(32) PRIMARY KEY)")
    assert differences(before, await schemas.catalog(url)) == []
    await schemas.run(url, "CREATE EXTENSION pg_trgm")
    (one,) = differences(before, await schemas.catalog(url))
    assert (one.kind, one.name) == ("extension", "pg_trgm")


POSTGRESQL = {
    "table": "CREATE TABLE x (id int)",
    "view": "CREATE VIEW x AS SELECT 1 AS one",
    "materialized_view": "CREATE MATERIALIZED VIEW x AS SELECT 1 AS one",
    "enum": "CREATE TYPE x AS ENUM ('a')",
    "domain": "CREATE DOMAIN x AS int CHECK (VALUE > 0)",
    "type": "CREATE TYPE x AS (a int)",
    "sequence": "CREATE SEQUENCE x",
    "function": "CREATE FUNCTION x() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "schema": "CREATE SCHEMA x",
    "statistics": "CREATE STATISTICS x ON a, b FROM t",
    "policy": "CREATE POLICY x ON t USING (a > 0)",
    "trigger": "CREATE TRIGGER x BEFORE UPDATE ON t FOR EACH ROW"
    " EXECUTE FUNCTION suppress_redundant_updates_trigger()",
    "index": "CREATE INDEX x ON t (a)",
    "check": "ALTER TABLE t ADD CONSTRAINT x CHECK (a > 0)",
    "unique": "ALTER TABLE t ADD CONSTRAINT x UNIQUE (a)",
    "exclusion": "ALTER TABLE t ADD CONSTRAINT x EXCLUDE (a WITH =)",
    "foreign_key": "ALTER TABLE t ADD CONSTRAINT x FOREIGN KEY (a) REFERENCES t (id)",
    "table.row_security": "ALTER TABLE t ENABLE ROW LEVEL SECURITY",
    "table.storage_parameters": "ALTER TABLE t SET (toast.autovacuum_enabled = false)",
    "table.persistence": "ALTER TABLE t SET UNLOGGED",
    "table.replica_identity": "ALTER TABLE t REPLICA IDENTITY FULL",
    "table.comment": "COMMENT ON TABLE t IS 'x'",
    "column.storage": "ALTER TABLE t ALTER c SET STORAGE EXTERNAL",
    "column.statistics": "ALTER TABLE t ALTER c SET STATISTICS 9",
    "column.default": "ALTER TABLE t ALTER c SET DEFAULT 'x'",
    "column.nullable": "ALTER TABLE t ALTER c SET NOT NULL",
    "column.type": "ALTER TABLE t ALTER c TYPE varchar(9)",
    "column.collation": 'ALTER TABLE t ALTER c TYPE text COLLATE "C"',
    "column.serial": "ALTER SEQUENCE t_id_seq INCREMENT 2",
    "unique.comment": "COMMENT ON CONSTRAINT uq ON t IS 'x'",
    "foreign_key.validated": "ALTER TABLE t VALIDATE CONSTRAINT fk",
    "index.valid": "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'ix'::regclass",
    "enum.values": "ALTER TYPE e ADD VALUE 'b' BEFORE 'a'",
}


async def test_everything_that_changes_is_seen(schemas: Schemas) -> None:
    url = schemas.new("postgresql")
    await schemas.run(
        url,
        "CREATE TABLE t (id serial PRIMARY KEY, a int, b int, c text, d int CONSTRAINT uq UNIQUE)",
        "ALTER TABLE t ADD CONSTRAINT fk FOREIGN KEY (b) REFERENCES t (id) NOT VALID",
        "CREATE INDEX ix ON t (b)",
        "CREATE TYPE e AS ENUM ('a')",
    )

    def change(connection: Connection, statement: str) -> Any:
        before = read_catalog(connection)
        connection.exec_driver_sql(statement)
        after = read_catalog(connection)
        connection.rollback()
        return differences(before, after), differences(after, before)

    for kind, statement in POSTGRESQL.items():
        there, back = await schemas.on(url, change, statement)
        seen = {f"{one.kind}.{one.attribute}" if one.attribute else one.kind for one in there}
        assert seen == {kind}, statement
        assert len(back) == len(there)


async def test_partitions(schemas: Schemas) -> None:
    url = schemas.new("postgresql")
    await schemas.run(
        url,
        "CREATE TABLE p (id int, at date NOT NULL) PARTITION BY RANGE (at)",
        "CREATE TABLE p1 PARTITION OF p FOR VALUES FROM ('2026-01-01') TO ('2027-01-01')",
    )
    tables = (await schemas.catalog(url))["table"]
    assert tables["public.p"]["partition_by"] == "RANGE (at)"
    assert "2027-01-01" in tables["public.p1"]["partition_bound"]
    assert tables["public.p1"]["inherits"] == ["public.p"]


MYSQL = {
    "table": "CREATE TABLE x (id int)",
    "view": "CREATE VIEW x AS SELECT id FROM t",
    "trigger": "CREATE TRIGGER x BEFORE UPDATE ON t FOR EACH ROW SET NEW.a = 1",
    "index": "CREATE INDEX x ON t (b(5))",
    "check": "ALTER TABLE t ADD CONSTRAINT x CHECK (a > 0)",
    "foreign_key": "ALTER TABLE t ADD CONSTRAINT x FOREIGN KEY (a) REFERENCES t (id)",
    "table.engine": "ALTER TABLE t ENGINE = MyISAM",
    "table.comment": "ALTER TABLE t COMMENT 'x'",
    "column.default": "ALTER TABLE t ALTER a SET DEFAULT 7",
    "column.nullable": "ALTER TABLE t MODIFY a int NOT NULL",
    "column.type": "ALTER TABLE t MODIFY a bigint",
    "column.extra": "ALTER TABLE t MODIFY id int AUTO_INCREMENT",
    "column.comment": "ALTER TABLE t MODIFY a int COMMENT 'x'",
    "column.collation": "ALTER TABLE t MODIFY b varchar(20) COLLATE utf8mb4_bin",
    "column.generated": "ALTER TABLE t MODIFY g int GENERATED ALWAYS AS (z + 2) STORED",
}


async def test_everything_that_changes_is_seen_on_mysql(schemas: Schemas) -> None:
    for kind, statement in MYSQL.items():
        url = schemas.new("mysql")
        await schemas.run(
            url,
            "CREATE TABLE t (id int PRIMARY KEY, a int, b varchar(20), z int,"
            " g int GENERATED ALWAYS AS (z + 1) STORED) CHARACTER SET utf8mb4",
        )
        before = await schemas.catalog(url)
        await schemas.run(url, statement)
        seen = differences(before, await schemas.catalog(url))
        names = {f"{one.kind}.{one.attribute}" if one.attribute else one.kind for one in seen}
        assert names - ({"index"} if kind == "foreign_key" else set()) == {kind}, statement


async def test_the_index_that_mysql_keeps_for_a_foreign_key(schemas: Schemas) -> None:
    url = schemas.new("mysql")
    await schemas.run(url, "CREATE TABLE t (id int PRIMARY KEY, a int)")
    before = await schemas.catalog(url)
    await schemas.run(url, MYSQL["foreign_key"])
    between = await schemas.catalog(url)
    await schemas.run(url, "ALTER TABLE t DROP FOREIGN KEY x")
    after = await schemas.catalog(url)
    assert differences(before, after)
    assert round_trip(before, between, after) == []
    await schemas.run(url, "CREATE INDEX y ON t (a)")
    assert len(round_trip(before, between, await schemas.catalog(url))) == 1


SAME_ON_SQLITE = [
    (
        "CREATE TABLE t (id INTEGER NOT NULL, a VARCHAR(5) DEFAULT (1), PRIMARY KEY (id),"
        " CONSTRAINT ck CHECK (a > 0), UNIQUE (a), FOREIGN KEY(a) REFERENCES p (id))",
        'create table "t" ("id" integer not null primary key, `a` varchar( 5 ) default 1 unique'
        " references p(id) on delete no action -- why\n , constraint [ck] check ((a>0)))",
    ),
    (
        "CREATE TABLE t (a INT NOT NULL GENERATED ALWAYS AS (b + 1) STORED, b TEXT COLLATE nocase)"
        " STRICT, WITHOUT ROWID",
        "CREATE TABLE t (a INT AS ((b+1)) STORED NOT NULL, b text COLLATE NOCASE)"
        " without rowid, strict",
    ),
    (
        "CREATE TABLE t (a INTEGER DEFAULT '1', b DECIMAL DEFAULT '-1.5', c BOOLEAN DEFAULT '0')",
        "CREATE TABLE t (a INTEGER DEFAULT 1, b DECIMAL DEFAULT -1.5, c BOOLEAN DEFAULT 0)",
    ),
    ("CREATE TABLE t (id INTEGER PRIMARY KEY ASC)", "CREATE TABLE t (id INTEGER PRIMARY KEY)"),
]
OTHER_ON_SQLITE = [
    "CREATE TABLE t (id INTEGER, a TEXT)",
    "CREATE TABLE t (id INTEGER, a TEXT) STRICT",
    "CREATE TABLE t (id INTEGER, a TEXT DEFAULT 'A')",
    "CREATE TABLE t (id INTEGER, a TEXT DEFAULT 'a')",
    "CREATE TABLE t (id INTEGER, a TEXT DEFAULT '1')",
    "CREATE TABLE t (id INTEGER, a TEXT DEFAULT 1)",
    "CREATE TABLE t (id INTEGER, a BLOB DEFAULT '1')",
    "CREATE TABLE t (id INTEGER, a BLOB DEFAULT 1)",
    "CREATE TABLE t (id INTEGER, a TEXT NOT NULL)",
    "CREATE TABLE t (id INTEGER, a TEXT NOT NULL ON CONFLICT IGNORE)",
    "CREATE TABLE t (id INTEGER, a TEXT COLLATE NOCASE)",
    "CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT)",
    "CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT, a TEXT)",
    "CREATE TABLE t (id INTEGER, a TEXT, UNIQUE (a))",
    "CREATE TABLE t (id INTEGER, a TEXT, UNIQUE (a) ON CONFLICT IGNORE)",
    "CREATE TABLE t (id INTEGER, a TEXT, CHECK (a > 'x, y)'))",
    "CREATE TABLE t (id INTEGER, a TEXT, CONSTRAINT c CHECK (a > 'x, y)'))",
    "CREATE TABLE t (id INTEGER, a TEXT REFERENCES t (id))",
    "CREATE TABLE t (id INTEGER, a TEXT REFERENCES t (id) ON DELETE SET NULL)",
    "CREATE TABLE t (id INTEGER, a TEXT REFERENCES t (id) DEFERRABLE INITIALLY DEFERRED)",
    "CREATE TABLE t (id INTEGER, a TEXT AS (id) STORED)",
    "CREATE TABLE t (id INTEGER, a TEXT AS (id))",
]


def test_two_ways_to_write_one_table() -> None:
    for one, other in SAME_ON_SQLITE:
        first, second = parse_table(one), parse_table(other)
        assert first.columns == second.columns
        assert sorted(map(str, without_parts(first))) == sorted(map(str, without_parts(second)))
        assert first.options == second.options
    shown = [
        str((found.columns, without_parts(found), found.options))
        for found in map(parse_table, OTHER_ON_SQLITE)
    ]
    assert len(set(shown)) == len(OTHER_ON_SQLITE)


def test_a_reference_of_sqlite_is_deferrable_only_if_it_says_so() -> None:
    said = {"": False, "DEFERRABLE INITIALLY DEFERRED": True, "NOT DEFERRABLE": False}
    for words, deferrable in said.items():
        table = parse_table(f"CREATE TABLE t (id INTEGER, a TEXT REFERENCES t (id) {words})")
        ((_, entry),) = table.constraints
        assert entry["parts"]["deferrable"] is deferrable, words
        assert all(column["nullable"] for column in table.columns), words


def without_parts(found: Any) -> list[Any]:
    return [(kind, {**one, "parts": None}) for kind, one in found.constraints]


def test_indexes_of_sqlite() -> None:
    one = parse_index('CREATE UNIQUE INDEX "i" ON "t" ("a", lower(b) DESC) WHERE (a>0)')
    other = parse_index("create unique index i on t (a, LOWER( b ) desc) where a > 0")
    assert one["definition"] == other["definition"]
    assert one["unique"]
    assert not parse_index('CREATE INDEX "unique" ON t (a)')["unique"]
    assert one["parts"]["keys"][1]["text"] == "lower(b) DESC"
    assert one["definition"] != parse_index("CREATE INDEX i ON t (a) WHERE a > 1")["definition"]


FILTER = """
def include_object(item, name, kind, reflected, compare_to):
    return name not in ("ix_users_nick", "kept_away")


def run(connection):
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        include_object=include_object,
        transaction_per_migration=True,
    )
"""


def test_a_project_makes_its_models_on_a_scratch(
    tmp_path: Path, make_database: Callable[[str], str]
) -> None:
    """In the worker, by its env.py, which keeps a table and an index from Alembic."""
    shop = Shop(tmp_path / "shop")
    shop.edit("app/db.py", 'os.environ["DATABASE_URL"]', repr("postgresql+asyncpg://u@nowhere/x"))
    old = "\ndef run(connection):\n    context.configure(connection=connection, target_metadata="
    shop.edit("alembic/env.py", old + "Base.metadata)\n", FILTER)
    shop.edit(
        "app/models.py",
        "class User",
        "from sqlalchemy import Index, Table, Column, Text, text\n"
        "from sqlalchemy.dialects.postgresql import ENUM\n"
        'Table("kept_away", Base.metadata, Column("a", Text, server_default=text("f()")),\n'
        '    Column("b", ENUM("x", name="made_by_hand", create_type=False)),\n'
        '    Index("i", "a", postgresql_concurrently=True), schema="other")\n\n\nclass User',
    )
    project = read_project(shop.root)
    url = make_database("postgresql")
    for statement in (
        "CREATE SCHEMA parts",
        "CREATE EXTENSION citext SCHEMA parts",
        "CREATE TABLE parts.words (id parts.citext)",
        "CREATE FUNCTION f() RETURNS parts.citext LANGUAGE sql AS 'SELECT id FROM parts.words'",
    ):
        execute(make_url(url), statement)
    migrated = read_catalog_at(make_url(url))
    server = make_url(url)
    ini = shop.root / "alembic.ini"
    with open_scratch("postgresql", server_url=server) as scratch:
        extra = {"action": "create_all", "prepare": preparation(migrated)}
        result = run_alembic(project, ["current"], scratch, ini=ini, extra=extra)
        assert result.error == {}, result.message
        catalog = result.report["catalog"]
        assert set(catalog["table"]) == {"public.users", "other.kept_away"}
        assert "public.made_by_hand" in catalog["enum"]
        assert result.report["ignored"] == [
            ["index", None, "users", "ix_users_nick"],
            ["table", "other", "kept_away", "kept_away"],
        ]
        here = read_catalog_at(scratch.url)
        assert differences(here, catalog) == []
        extra = {"action": "read_catalog"}
        again = run_alembic(project, ["current"], scratch, ini=ini, extra=extra)
        assert again.report["catalog"] == catalog
        assert shop.versions() == []
