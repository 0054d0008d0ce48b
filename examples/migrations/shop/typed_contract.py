"""Text to an enum and to JSON, step 3 of 3: the triggers and the old columns go.

Deploy when no process is left that uses status or details.
PostgreSQL: NOT NULL by the three steps of the e-mail, in one file as nothing else lies between.
MySQL: in place. SQLite has neither enums nor ALTER COLUMN: in batch mode the table is rebuilt with
a CHECK. env.py turns foreign keys off for that, or DROP TABLE would empty shop_line by cascade;
batch mode keeps indexes and named constraints, and loses triggers.
"""

from collections.abc import Sequence
from types import ModuleType

import sqlalchemy as sa
from alembic import context, op
from alembic.script import ScriptDirectory

revision: str = "typed_contract"
down_revision: str | Sequence[str] | None = "typed_backfill"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

CHECK = "ck_shop_order_state"


def upgrade() -> None:
    migration = op.get_context()
    if migration.dialect.name == "sqlite":
        expand().drop_triggers()
        with op.batch_alter_table("shop_order") as table:
            table.alter_column("state", nullable=False, server_default="new")
            table.create_check_constraint(CHECK, "state IN ('new', 'paid', 'returned')")
            table.drop_column("status")
            table.drop_column("details")
        return
    if migration.dialect.name == "postgresql":
        op.create_check_constraint(
            CHECK, "shop_order", "state IS NOT NULL", postgresql_not_valid=True
        )
        with migration.autocommit_block():
            op.execute(f"ALTER TABLE shop_order VALIDATE CONSTRAINT {CHECK}")
        op.alter_column("shop_order", "state", nullable=False, server_default="new")
        op.drop_constraint(CHECK, "shop_order", type_="check")
    else:
        op.execute(
            "ALTER TABLE shop_order MODIFY state ENUM('new', 'paid', 'returned') NOT NULL "
            "DEFAULT 'new', ALGORITHM=INPLACE, LOCK=NONE"
        )
    expand().drop_triggers()
    op.drop_column("shop_order", "status")
    op.drop_column("shop_order", "details")


def downgrade() -> None:
    """One UPDATE of all rows; then both columns are kept equal again."""
    dialect = op.get_context().dialect.name
    op.add_column(
        "shop_order",
        sa.Column("status", sa.String(20), server_default="new", nullable=False),
    )
    op.add_column("shop_order", sa.Column("details", sa.Text))
    order = sa.table("shop_order", *(sa.column(name) for name in ("status", "details")))
    to_text = {
        "status": sa.cast(sa.column("state"), sa.String(20)),
        "details": sa.cast(sa.column("attributes"), sa.Text),
    }
    op.execute(sa.update(order).values(to_text))
    if dialect == "sqlite":
        with op.batch_alter_table("shop_order") as table:
            table.drop_constraint(CHECK, type_="check")
            table.alter_column("state", nullable=True, server_default=None)
    elif dialect == "postgresql":
        op.alter_column("shop_order", "state", nullable=True, server_default=None)
    else:
        op.execute("ALTER TABLE shop_order MODIFY state ENUM('new', 'paid', 'returned') NULL")
    expand().create_triggers()


def expand() -> ModuleType:
    """Step 1, whose triggers these are. Files of revisions cannot import each other."""
    script = ScriptDirectory.from_config(context.config).get_revision("typed_expand")
    assert script is not None
    return script.module
