"""Rename name to full_name, step 1 of 3: a second column, kept equal by a trigger.

Old processes write name, new ones full_name, and each reads what the other wrote. A plain RENAME
breaks every process that runs the other version. Deploy the application that uses full_name
after step 2.
PostgreSQL: AccessExclusive and ShareRowExclusive, for a moment. MySQL: the column is added without
a copy. SQLite: its triggers run after the statement, and correct the row.
(A column that is NOT NULL: make the old one nullable here, and the new one NOT NULL at the end,
as for the e-mail.)
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "full_name_expand"
down_revision: str | Sequence[str] | None = "email_not_null"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

POSTGRESQL = (
    """
    CREATE FUNCTION shop_customer_names() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF TG_OP = 'INSERT' THEN
            NEW.full_name = coalesce(NEW.full_name, NEW.name);
        ELSIF NEW.full_name IS NOT DISTINCT FROM OLD.full_name THEN
            NEW.full_name = NEW.name;
        END IF;
        NEW.name = NEW.full_name;
        RETURN NEW;
    END $$
    """,
    """
    CREATE TRIGGER shop_customer_names BEFORE INSERT OR UPDATE ON shop_customer
    FOR EACH ROW EXECUTE FUNCTION shop_customer_names()
    """,
)
MYSQL = (
    """
    CREATE TRIGGER shop_customer_names_insert BEFORE INSERT ON shop_customer FOR EACH ROW
    SET NEW.full_name = COALESCE(NEW.full_name, NEW.name), NEW.name = NEW.full_name
    """,
    """
    CREATE TRIGGER shop_customer_names_update BEFORE UPDATE ON shop_customer FOR EACH ROW
    SET NEW.full_name = IF(NEW.full_name <=> OLD.full_name, NEW.name, NEW.full_name),
        NEW.name = NEW.full_name
    """,
)
SQLITE = (
    """
    CREATE TRIGGER shop_customer_names_insert AFTER INSERT ON shop_customer BEGIN
        UPDATE shop_customer SET name = coalesce(NEW.full_name, NEW.name),
            full_name = coalesce(NEW.full_name, NEW.name) WHERE id = NEW.id;
    END
    """,
    """
    CREATE TRIGGER shop_customer_names_update AFTER UPDATE OF name, full_name ON shop_customer
    BEGIN
        UPDATE shop_customer SET
            name = CASE WHEN NEW.full_name IS OLD.full_name THEN NEW.name ELSE NEW.full_name END,
            full_name =
                CASE WHEN NEW.full_name IS OLD.full_name THEN NEW.name ELSE NEW.full_name END
        WHERE id = NEW.id;
    END
    """,
)


def create_triggers() -> None:
    dialect = op.get_context().dialect.name
    for statement in {"postgresql": POSTGRESQL, "sqlite": SQLITE}.get(dialect, MYSQL):
        op.execute(statement)


def drop_triggers() -> None:
    if op.get_context().dialect.name == "postgresql":
        op.execute("DROP TRIGGER shop_customer_names ON shop_customer")
        op.execute("DROP FUNCTION shop_customer_names()")
    else:
        op.execute("DROP TRIGGER shop_customer_names_insert")
        op.execute("DROP TRIGGER shop_customer_names_update")


def upgrade() -> None:
    op.add_column("shop_customer", sa.Column("full_name", sa.String(200)))
    create_triggers()


def downgrade() -> None:
    """Loses nothing: what was written to full_name is in name, too."""
    drop_triggers()
    op.drop_column("shop_customer", "full_name")
