"""A foreign key on a table with rows, step 1 of 3: for new rows.

PostgreSQL: NOT VALID reads no row; ShareRowExclusive on both tables for a moment: readers go on.
Without it both tables are locked against writers for as long as all rows are looked up.
MySQL: foreign_key_checks = 0 does the same, in place; it never looks at the old rows, so step 3
does. SQLite: the table is rebuilt, and the old rows are not looked at either.
"""

from collections.abc import Sequence

from alembic import op

revision: str = "order_customer_fk"
down_revision: str | Sequence[str] | None = "state_returned_removed"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

NAME = "fk_shop_order_customer_id_shop_customer"


def upgrade() -> None:
    dialect = op.get_context().dialect.name
    if dialect == "postgresql":
        op.create_foreign_key(
            NAME,
            "shop_order",
            "shop_customer",
            ["customer_id"],
            ["id"],
            postgresql_not_valid=True,
        )
    elif dialect == "sqlite":
        with op.batch_alter_table("shop_order") as table:
            table.create_foreign_key(NAME, "shop_customer", ["customer_id"], ["id"])
    else:
        op.execute("SET SESSION foreign_key_checks = 0")
        op.execute(
            f"ALTER TABLE shop_order ADD CONSTRAINT {NAME} FOREIGN KEY (customer_id) "
            "REFERENCES shop_customer (id), ALGORITHM=INPLACE, LOCK=NONE"
        )
        op.execute("SET SESSION foreign_key_checks = 1")


def downgrade() -> None:
    with op.batch_alter_table("shop_order") as table:
        table.drop_constraint(NAME, type_="foreignkey")
