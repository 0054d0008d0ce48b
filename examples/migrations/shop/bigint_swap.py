"""integer to bigint, step 3 of 3: the new column takes the old one's name.

PostgreSQL: VALIDATE reads the table beside readers and writers; what follows is one transaction of
a moment under AccessExclusive. A pooled connection of asyncpg that has the old type in a cached
statement fails once with InvalidCachedStatementError: run that transaction again.
MySQL: NOT NULL in place, then, under LOCK TABLES, since a row written between the end of the
triggers and the swap would be lost, two changes of a moment.
The way back copies all rows under the lock, and fails if a total has become too large.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import context, op
from alembic.script import ScriptDirectory

revision: str = "bigint_swap"
down_revision: str | Sequence[str] | None = "bigint_backfill"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    migration = op.get_context()
    if migration.dialect.name == "postgresql":
        with migration.autocommit_block():
            op.execute("ALTER TABLE shop_order VALIDATE CONSTRAINT ck_shop_order_total_cents_new")
        op.alter_column("shop_order", "total_cents_new", nullable=False)
        op.execute("DROP TRIGGER shop_order_total ON shop_order")
        op.execute("DROP FUNCTION shop_order_total()")
        op.drop_constraint("ck_shop_order_total_cents_new", "shop_order", type_="check")
        op.drop_column("shop_order", "total_cents")
        op.alter_column("shop_order", "total_cents_new", new_column_name="total_cents")
    elif migration.dialect.name != "sqlite":
        op.execute(
            "ALTER TABLE shop_order MODIFY total_cents_new BIGINT NOT NULL, "
            "ALGORITHM=INPLACE, LOCK=NONE"
        )
        op.execute("LOCK TABLES shop_order WRITE")
        op.execute("DROP TRIGGER shop_order_total_insert")
        op.execute("DROP TRIGGER shop_order_total_update")
        op.execute(
            "ALTER TABLE shop_order DROP COLUMN total_cents, "
            "RENAME COLUMN total_cents_new TO total_cents"
        )
        op.execute("UNLOCK TABLES")


def downgrade() -> None:
    dialect = op.get_context().dialect.name
    if dialect == "sqlite":
        return
    op.alter_column(
        "shop_order",
        "total_cents",
        new_column_name="total_cents_new",
        existing_type=sa.BigInteger(),
        existing_nullable=False,
        nullable=True,
    )
    op.add_column("shop_order", sa.Column("total_cents", sa.Integer))
    op.execute("UPDATE shop_order SET total_cents = total_cents_new")
    op.alter_column("shop_order", "total_cents", existing_type=sa.Integer(), nullable=False)
    script = ScriptDirectory.from_config(context.config).get_revision("bigint_expand")
    assert script is not None
    script.module.fill_by_trigger()
