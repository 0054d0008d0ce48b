"""Write a change as the revisions of a deploy during which the service never stops.

    for revision in expand_contract(change, dialect="postgresql", parent="3f2a", slug="full_name"):
        (versions / revision.file).write_text(revision.text)
        print(revision.deploy)

Between two revisions old and new code run at the same time. What each of them needs is kept by
a trigger or a default. Rows are copied in batches outside of one big transaction, constraints
are added NOT VALID and validated, indexes are built concurrently, and what waits for a lock
gives up after half a second and tries again. Each revision has a downgrade.
"""

from collections.abc import Callable, Iterable
from typing import Any

from toolkit.migration.expand_contract.change import (
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
    SetNotNull,
    Table,
)
from toolkit.migration.expand_contract.columns import NOTHING, rename_column
from toolkit.migration.expand_contract.constraints import (
    add_check,
    add_foreign_key,
    add_index,
    add_unique,
    late,
    rename_table,
)
from toolkit.migration.expand_contract.required import (
    add_required_column,
    drop_column,
    set_not_null,
)
from toolkit.migration.expand_contract.types import change_type
from toolkit.migration.expand_contract.writing import Part, RevisionText, write

__all__ = [
    "AddCheck",
    "AddForeignKey",
    "AddIndex",
    "AddRequiredColumn",
    "AddUnique",
    "Change",
    "ChangeType",
    "Column",
    "DropColumn",
    "Index",
    "Late",
    "NotPossible",
    "RenameColumn",
    "RenameTable",
    "RevisionText",
    "SetNotNull",
    "Table",
    "expand_contract",
    "expand_contract_all",
]

RECIPES: dict[type, Callable[[Any, str], list[Part]]] = {
    RenameColumn: rename_column,
    ChangeType: change_type,
    SetNotNull: set_not_null,
    AddRequiredColumn: add_required_column,
    DropColumn: drop_column,
    RenameTable: rename_table,
    AddUnique: add_unique,
    AddForeignKey: add_foreign_key,
    AddCheck: add_check,
    AddIndex: add_index,
    Late: late,
}


def expand_contract(
    change: Change, *, dialect: str, parent: str | None, slug: str
) -> list[RevisionText]:
    """The revisions of `change` in their order, on top of `parent`.

    `slug` begins their ids, which have at most 32 characters. Raises NotPossible where the
    database has no such form, and ValueError where the change does not say enough.
    """
    return expand_contract_all([change], dialect=dialect, parent=parent, slug=slug)


def expand_contract_all(
    changes: Iterable[Change],
    *,
    dialect: str,
    parent: str | None,
    slug: str,
    needs: Iterable[str] = (),
) -> list[RevisionText]:
    """The revisions of several changes that one new version of the code needs.

    First what can be done while old code runs, of all of them; then what has to wait for the
    new code. They may not be about the same column.
    """
    dialect = "mysql" if dialect == "mariadb" else dialect
    parts = [part for change in changes for part in RECIPES[type(change)](change, dialect)]
    parts.sort(key=lambda part: part.deploy != NOTHING)
    return write(parts, slug=slug, dialect=dialect, parent=parent, needs=needs)
