"""NOT NULL, step 3 of 3: verify the old rows, then say it of the column.

PostgreSQL: VALIDATE reads the table under ShareUpdateExclusive, beside which rows are read and
written. It is committed by itself. SET NOT NULL then believes the constraint: AccessExclusive,
but the table is not read.
MySQL: in place, without locking writers out. SQLite: the table is rebuilt.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "email_not_null"
down_revision: str | Sequence[str] | None = "email_check"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

NAME = "ck_shop_customer_email"
EMAIL = sa.String(320)


def upgrade() -> None:
    context = op.get_context()
    if context.dialect.name == "postgresql":
        with context.autocommit_block():
            op.execute(f"ALTER TABLE shop_customer VALIDATE CONSTRAINT {NAME}")
        op.alter_column("shop_customer", "email", existing_type=EMAIL, nullable=False)
        op.drop_constraint(NAME, "shop_customer", type_="check")
    elif context.dialect.name == "sqlite":
        with op.batch_alter_table("shop_customer") as table:
            table.alter_column("email", existing_type=EMAIL, nullable=False)
    else:
        op.execute(
            "ALTER TABLE shop_customer MODIFY email VARCHAR(320) NOT NULL, "
            "ALGORITHM=INPLACE, LOCK=NONE"
        )


def downgrade() -> None:
    if op.get_context().dialect.name == "postgresql":
        op.create_check_constraint(
            NAME, "shop_customer", "email IS NOT NULL", postgresql_not_valid=True
        )
    with op.batch_alter_table("shop_customer") as table:  # in place, but on SQLite
        table.alter_column("email", existing_type=EMAIL, nullable=True)
