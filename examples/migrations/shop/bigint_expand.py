"""integer to bigint, step 1 of 3: a column of the new type, filled by a trigger.

ALTER COLUMN ... TYPE would write the table anew under AccessExclusive (PostgreSQL) or copy it
while writers wait (MySQL). The application stays as it is and writes total_cents.
NOT VALID: new rows are checked, old ones are not read. SQLite: nothing to do, an INTEGER has 64
bits.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "bigint_expand"
down_revision: str | Sequence[str] | None = "full_name_contract"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

POSTGRESQL = (
    """
    CREATE FUNCTION shop_order_total() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN NEW.total_cents_new = NEW.total_cents; RETURN NEW; END $$
    """,
    """
    CREATE TRIGGER shop_order_total BEFORE INSERT OR UPDATE ON shop_order
    FOR EACH ROW EXECUTE FUNCTION shop_order_total()
    """,
)
MYSQL = (
    """
    CREATE TRIGGER shop_order_total_insert BEFORE INSERT ON shop_order FOR EACH ROW
    SET NEW.total_cents_new = NEW.total_cents
    """,
    """
    CREATE TRIGGER shop_order_total_update BEFORE UPDATE ON shop_order FOR EACH ROW
    SET NEW.total_cents_new = NEW.total_cents
    """,
)


def fill_by_trigger() -> None:
    is_postgresql = op.get_context().dialect.name == "postgresql"
    for statement in POSTGRESQL if is_postgresql else MYSQL:
        op.execute(statement)
    if is_postgresql:
        op.create_check_constraint(
            "ck_shop_order_total_cents_new",
            "shop_order",
            "total_cents_new IS NOT NULL",
            postgresql_not_valid=True,
        )


def upgrade() -> None:
    if op.get_context().dialect.name != "sqlite":
        op.add_column("shop_order", sa.Column("total_cents_new", sa.BigInteger))
        fill_by_trigger()


def downgrade() -> None:
    dialect = op.get_context().dialect.name
    if dialect == "sqlite":
        return
    if dialect == "postgresql":
        op.execute("DROP TRIGGER shop_order_total ON shop_order")
        op.execute("DROP FUNCTION shop_order_total()")
    else:
        op.execute("DROP TRIGGER shop_order_total_insert")
        op.execute("DROP TRIGGER shop_order_total_update")
    op.drop_column("shop_order", "total_cents_new")
