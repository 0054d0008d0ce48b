"""--expand-contract while old and new code write: what is written stays, and so does the rest.

The same oracle as for the forms of the review: pg_dump of what the plain statement makes (#15).
"""

import uuid
from collections.abc import Iterator
from dataclasses import replace

import pytest

from corpus import experiment, forms
from corpus.forms import ITEMS, NICKNAME, ORDERS, SETTINGS, USERS, Writes, renamed
from corpus.runner import CORPUS, copy_of
from servers.postgres import PostgresServer
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
    RenameColumn,
    RenameTable,
    SetNotNull,
    Table,
    expand_contract,
)

pytestmark = pytest.mark.any_sqlalchemy

OF_USERS, OF_ORDERS, OF_ITEMS = Table("users"), Table("orders"), Table("items")
NICK = Column("nick", "sa.String(20)", "VARCHAR(20)")
NAME = Column("name", "sa.Text()", "TEXT")
KIND = Column("kind", "sa.Text()", "TEXT", nullable=False)


def both(old: forms.Write, column: str, new: str) -> Writes:
    """Code that says `column`, and code that says `new`."""
    insert, update = (one.replace(column, new) for one in old)
    seen = f"SELECT {new} FROM {old[1].split()[1]} WHERE id = {{n}}"
    return Writes(old, (insert, update), seen, seen_before=seen.replace(new, column))


CHANGES: dict[str, tuple[Change, str, Writes]] = {
    "rename": (
        RenameColumn(OF_USERS, NICK, "nickname"),
        "ALTER TABLE users RENAME nick TO nickname",
        NICKNAME,
    ),
    "rename with rights and a comment": (
        RenameColumn(OF_USERS, NAME, "full_name"),
        "ALTER TABLE users RENAME name TO full_name",
        both(
            ("INSERT INTO users (id, email, name) VALUES ({n}, 'e{n}', 'b')",
             "UPDATE users SET name = 'changed{n}' WHERE id = {n}"),
            "name", "full_name",
        ),
    ),
    "rename, NOT NULL": (
        RenameColumn(OF_ITEMS, KIND, "sort"),
        "ALTER TABLE items RENAME kind TO sort",
        both(
            ("INSERT INTO items (id, kind) VALUES ({n}, 'b')",
             "UPDATE items SET kind = 'changed{n}' WHERE id = {n}"),
            "kind", "sort",
        ),
    ),
    "rename, a default": (
        RenameColumn(
            OF_USERS,
            Column("joined", "sa.DateTime()", "TIMESTAMP", nullable=False, default="now()"),
            "since",
        ),
        "ALTER TABLE users RENAME joined TO since",
        USERS,
    ),
    "rename, an index": (
        RenameColumn(
            OF_ORDERS,
            Column("reference", "sa.String(20)", "VARCHAR(20)"),
            "label",
            (Index("ix_orders_reference", ("reference",)),),
            ("ix_orders_reference",),
        ),
        "ALTER TABLE orders RENAME reference TO label",
        both(
            ("INSERT INTO orders (id, user_id, reference) VALUES ({n}, 1, 'b')",
             "UPDATE orders SET reference = 'changed{n}' WHERE id = {n}"),
            "reference", "label",
        ),
    ),
    "type": (
        ChangeType(
            OF_ORDERS,
            Column("number", "sa.Integer()", "INTEGER"),
            "sa.BigInteger()",
            "BIGINT",
            indexes=(Index("orders_number_key", ("number",), unique=True, constraint=True),),
        ),
        "ALTER TABLE orders ALTER number TYPE bigint",
        ORDERS,
    ),
    "type with rights and a comment": (
        ChangeType(OF_USERS, NAME, "sa.String(200)", "VARCHAR(200)"),
        "ALTER TABLE users ALTER name TYPE varchar(200)",
        USERS,
    ),
    "not null": (
        SetNotNull(OF_USERS, NICK, "''"),
        "ALTER TABLE users ALTER nick SET NOT NULL",
        replace(USERS, new=("INSERT INTO users (id, email, nick) VALUES ({n}, '', '')",
                            USERS.old[1])),
    ),
    "required": (
        AddRequiredColumn(
            OF_USERS, Column("phone", "sa.Text()", "TEXT", nullable=False), "''"
        ),
        "ALTER TABLE users ADD phone text NOT NULL",
        replace(USERS, new=("INSERT INTO users (id, email, phone) VALUES ({n}, '', '')",
                            USERS.old[1])),
    ),
    "drop": (
        DropColumn(OF_ITEMS, KIND, "''"),
        "ALTER TABLE items DROP kind",
        replace(
            ITEMS,
            new=("INSERT INTO items (id, order_id) VALUES ({n}, 1)", ITEMS.old[1]),
        ),
    ),
    "table": (
        RenameTable(Table("settings", ("key",)), "preferences"),
        "ALTER TABLE settings RENAME TO preferences",
        renamed("preferences"),
    ),
    "unique": (
        AddUnique(OF_ORDERS, "u", ("reference",)),
        "ALTER TABLE orders ADD CONSTRAINT u UNIQUE (reference)",
        ORDERS,
    ),
    "key": (
        AddForeignKey(
            OF_ORDERS, "fk", ("user_id",), "users", ("id",), options={"ondelete": "CASCADE"}
        ),
        "ALTER TABLE orders ADD CONSTRAINT fk FOREIGN KEY (user_id) REFERENCES users (id)"
        " ON DELETE CASCADE",
        ORDERS,
    ),
    "check": (
        AddCheck(Table("settings", ("key",)), "ck", "length(value) < 90"),
        "ALTER TABLE settings ADD CONSTRAINT ck CHECK (length(value) < 90)",
        SETTINGS,
    ),
    "index": (
        AddIndex(OF_ORDERS, Index("ix", ("placed",))),
        "CREATE INDEX ix ON orders (placed)",
        ORDERS,
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def databases(postgres_server: PostgresServer) -> Iterator[tuple[str, str]]:
    """Without rows, and with."""
    names = [f"asp_expand_{uuid.uuid4().hex[:12]}" for _ in range(2)]
    try:
        for name, rows in zip(names, (False, True), strict=True):
            postgres_server.create_database(name)
            url = postgres_server.url(name)
            experiment.prepare(CORPUS / "postgresql" / "base.py", url, ())
            forms.prepare(url, rows=rows)
        yield names[0], names[1]
    finally:
        for name in names:
            postgres_server.drop_database(name)


@pytest.mark.sweep(every=3)
@pytest.mark.parametrize("kind", CHANGES)
def test_nothing_is_lost_under_writers(
    kind: str, postgres_server: PostgresServer, databases: tuple[str, str]
) -> None:
    change, statement, writes = CHANGES[kind]
    writes = replace(writes, instead=statement)
    with copy_of(postgres_server, databases[0], f"asp_test_{uuid.uuid4().hex[:12]}") as url:
        plain = forms.plain_schema(None, writes, url)
    steps = forms.files(
        one.text for one in expand_contract(change, dialect="postgresql", parent="r", slug="s")
    )
    with copy_of(postgres_server, databases[1], f"asp_test_{uuid.uuid4().hex[:12]}") as url:
        assert forms.check(steps, writes, url, plain) == len(steps)


@pytest.mark.parametrize(
    ("kind", "asked"),
    [
        ("table", "has_table_privilege('pg_monitor', 'preferences', 'INSERT')"),
        ("rename with rights and a comment",
         "has_column_privilege('pg_monitor', 'users', 'full_name', 'UPDATE')"),
    ],
)  # fmt: skip
def test_rights_go_with_the_new_name_at_once(
    kind: str, asked: str, postgres_server: PostgresServer, databases: tuple[str, str]
) -> None:
    written = expand_contract(CHANGES[kind][0], dialect="postgresql", parent="r", slug="s")
    ((up, _), *_) = forms.files(one.text for one in written)
    with copy_of(postgres_server, databases[0], f"asp_test_{uuid.uuid4().hex[:12]}") as url:
        forms.carry_out(url, up)
        with forms.connected(url) as connection:
            row = connection.execute(f"SELECT {asked}").fetchone()
    assert row == (True,)
