"""What shall change, as plain values: no connection, no metadata, only names, types and rules.

Types and defaults are given twice: as Python source for Alembic's operations, and as SQL of
the database for triggers.
"""

from dataclasses import dataclass, field


class NotPossible(ValueError):
    """This database has no zero-downtime form of the change; the text says why in one line."""


@dataclass(frozen=True)
class Column:
    """A column as it is before the change."""

    name: str
    source: str
    """Its type as Python: `sa.String(length=200)`."""
    sql: str
    """Its type as the database writes it: `VARCHAR(200)`."""
    nullable: bool = True
    default: str | None = None
    """Its server default as SQL: `'new'`, `now()`."""
    create_type: str = ""
    """SQL for a type that has to be made first: `CREATE TYPE color AS ENUM (...)`."""
    drop_type: str = ""
    comment: str | None = None
    """What MySQL forgets with a MODIFY that does not say it again."""


@dataclass(frozen=True)
class Table:
    """The table that changes."""

    name: str
    key: tuple[str, ...] = ("id",)
    """The columns of its primary key: backfills go along it."""
    schema: str | None = None


@dataclass(frozen=True)
class Index:
    """An index or, with `constraint` beside `unique`, the constraint that owns it."""

    name: str
    columns: tuple[str, ...]
    unique: bool = False
    constraint: bool = False
    keys: tuple[str, ...] = ()
    """As Python, where it is on more than columns: `sa.literal_column("lower(a)")`."""
    options: tuple[str, ...] = ()
    """Further arguments of op.create_index, as Python: `postgresql_using="gin"`."""


@dataclass(frozen=True)
class RenameColumn:
    """`old` becomes `new`; both are kept equal while two versions of the service run."""

    table: Table
    old: Column
    new: str
    indexes: tuple[Index, ...] = ()
    """On the old column. They are built again on the new one, named by `new_index_names`."""
    new_index_names: tuple[str, ...] = ()
    """The same name again is taken when the old column is gone."""


@dataclass(frozen=True)
class ChangeType:
    """A column of another type under the same name."""

    table: Table
    column: Column
    source: str
    """The new type as Python."""
    sql: str
    """The new type as SQL."""
    using: str = ""
    """From old value to new, `{}` is the value: `{}::integer`. Empty: a CAST."""
    back: str = ""
    """From new value to old, for the downgrade. Empty: a CAST."""
    default: str | None = None
    """The new column's server default as SQL, if the old one has any."""
    indexes: tuple[Index, ...] = ()
    """On the column. They keep their names."""
    create_type: str = ""
    """As of `Column`, for the new type."""
    drop_type: str = ""
    comment: str | None = None
    """What MySQL forgets with a MODIFY that does not say it again."""


@dataclass(frozen=True)
class SetNotNull:
    """A nullable column becomes NOT NULL."""

    table: Table
    column: Column
    fill: str
    """SQL for rows that have none; other columns as `{row}name`: `'user-' || {row}id`."""


@dataclass(frozen=True)
class AddRequiredColumn:
    """A new column that is NOT NULL and, in the model, has no default."""

    table: Table
    column: Column
    fill: str
    """SQL for the rows that exist, and those that old code still writes."""
    constant: bool = True
    """Is `fill` the same for every row? `gen_random_uuid()` and `random()` are not."""


@dataclass(frozen=True)
class DropColumn:
    """A column that the new code does not know."""

    table: Table
    column: Column
    fill: str | None = None
    """SQL constant that old code reads in rows of the new code. Needed if NOT NULL without a
    default."""


@dataclass(frozen=True)
class RenameTable:
    """A table under a new name; a view has the other one in between."""

    table: Table
    new: str
    indexes: tuple[tuple[str, str], ...] = ()
    """Indexes that get another name as well: old, new."""


@dataclass(frozen=True)
class AddUnique:
    table: Table
    name: str
    columns: tuple[str, ...]


@dataclass(frozen=True)
class AddForeignKey:
    table: Table
    name: str
    columns: tuple[str, ...]
    refers_to: str
    refers_to_columns: tuple[str, ...]
    refers_to_schema: str | None = None
    options: dict[str, str | bool] = field(default_factory=dict)
    """Further arguments of op.create_foreign_key: `{"ondelete": "CASCADE"}`."""
    known: bool = False
    """Does old code keep this rule already, on the column under its old name?"""
    indexed: bool = False
    """Does an index begin with these columns? Else MySQL makes one, of the constraint's name."""


@dataclass(frozen=True)
class AddCheck:
    table: Table
    name: str
    condition: str


@dataclass(frozen=True)
class AddIndex:
    table: Table
    index: Index


@dataclass(frozen=True)
class Late:
    """What goes when nothing uses it any more, by operations that are written already."""

    title: str
    deploy: str
    up: tuple[str, ...]
    """Lines of Python."""
    down: tuple[str, ...]
    tables: tuple[Table, ...] = ()
    """Whose lock it needs."""
    expected: frozenset[str] = frozenset()
    """Rules of the review that say what is meant to happen."""


Change = (
    RenameColumn
    | ChangeType
    | SetNotNull
    | AddRequiredColumn
    | DropColumn
    | RenameTable
    | AddUnique
    | AddForeignKey
    | AddCheck
    | AddIndex
    | Late
)
