"""Rename name to full_name, step 3 of 3: the triggers and the old column go.

Deploy when no process is left that uses name; the model must not have it any more either, since
the ORM selects every column that it knows.
PostgreSQL: a moment of AccessExclusive, the rows stay as they are. MySQL: instant. SQLite: the
column is cut out of every row.
"""

from collections.abc import Sequence
from types import ModuleType

import sqlalchemy as sa
from alembic import context, op
from alembic.script import ScriptDirectory

revision: str = "full_name_contract"
down_revision: str | Sequence[str] | None = "full_name_backfill"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    expand().drop_triggers()
    op.drop_column("shop_customer", "name")


def downgrade() -> None:
    """One UPDATE of all rows, before the trigger: it would take the new column for unchanged."""
    op.add_column("shop_customer", sa.Column("name", sa.String(200)))
    op.execute("UPDATE shop_customer SET name = full_name")
    expand().create_triggers()


def expand() -> ModuleType:
    """Step 1, whose triggers these are. Files of revisions cannot import each other."""
    script = ScriptDirectory.from_config(context.config).get_revision("full_name_expand")
    assert script is not None
    return script.module
