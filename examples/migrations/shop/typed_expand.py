"""Text to an enum and to JSON, step 1 of 3: typed columns under new names.

Code that writes text does not work with an enum or jsonb column of the same name (asyncpg: "column
is of type shop_state but expression is of type character varying"). So these are renamed as well:
status becomes state, details becomes attributes, with triggers in both directions. state has no
default yet: what is not given is taken from status.
A status that the enum does not have would make every writer fail; it is refused here.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from alembic.util import CommandError
from sqlalchemy.dialects import postgresql

revision: str = "typed_expand"
down_revision: str | Sequence[str] | None = "bigint_swap"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

STATES = ("new", "paid", "returned")
ALL_STATES = ", ".join(f"'{state}'" for state in STATES)
status = sa.column("status", sa.String)
UNKNOWN = (
    sa.select(status).distinct().select_from(sa.table("shop_order")).where(status.not_in(STATES))
)

POSTGRESQL = (
    """
    CREATE FUNCTION shop_order_typed() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF TG_OP = 'INSERT' THEN
            NEW.state = coalesce(NEW.state, NEW.status::shop_state);
            NEW.attributes = coalesce(NEW.attributes, NEW.details::jsonb);
        ELSE
            IF NEW.state IS NOT DISTINCT FROM OLD.state THEN
                NEW.state = NEW.status::shop_state;
            END IF;
            IF NEW.attributes IS NOT DISTINCT FROM OLD.attributes THEN
                NEW.attributes = NEW.details::jsonb;
            END IF;
        END IF;
        NEW.status = NEW.state::text;
        -- What old code stored stays as it is, unless the new column says something else.
        IF NEW.details::jsonb IS DISTINCT FROM NEW.attributes THEN
            NEW.details = NEW.attributes::text;
        END IF;
        RETURN NEW;
    END $$
    """,
    """
    CREATE TRIGGER shop_order_typed BEFORE INSERT OR UPDATE ON shop_order
    FOR EACH ROW EXECUTE FUNCTION shop_order_typed()
    """,
)
MYSQL = (
    """
    CREATE TRIGGER shop_order_typed_insert BEFORE INSERT ON shop_order FOR EACH ROW
    SET NEW.state = COALESCE(NEW.state, NEW.status),
        NEW.status = IF(NEW.status <=> NEW.state, NEW.status, NEW.state),
        NEW.attributes = COALESCE(NEW.attributes, NEW.details), NEW.details = NEW.attributes
    """,
    """
    CREATE TRIGGER shop_order_typed_update BEFORE UPDATE ON shop_order FOR EACH ROW
    SET NEW.state = IF(NEW.state <=> OLD.state, NEW.status, NEW.state),
        NEW.status = IF(NEW.status <=> NEW.state, NEW.status, NEW.state),
        NEW.attributes = IF(NEW.attributes <=> OLD.attributes, NEW.details, NEW.attributes),
        NEW.details = NEW.attributes
    """,
)
SQLITE = (
    """
    CREATE TRIGGER shop_order_typed_insert AFTER INSERT ON shop_order BEGIN
        UPDATE shop_order SET
            state = coalesce(NEW.state, NEW.status),
            status = coalesce(NEW.state, NEW.status),
            attributes = coalesce(NEW.attributes, NEW.details),
            details = coalesce(NEW.attributes, NEW.details)
        WHERE id = NEW.id;
    END
    """,
    """
    CREATE TRIGGER shop_order_typed_status AFTER UPDATE OF status, state ON shop_order BEGIN
        UPDATE shop_order SET
            status = CASE WHEN NEW.state IS OLD.state THEN NEW.status ELSE NEW.state END,
            state = CASE WHEN NEW.state IS OLD.state THEN NEW.status ELSE NEW.state END
        WHERE id = NEW.id;
    END
    """,
    """
    CREATE TRIGGER shop_order_typed_details AFTER UPDATE OF details, attributes ON shop_order
    BEGIN
        UPDATE shop_order SET
            details =
                CASE WHEN NEW.attributes IS OLD.attributes THEN NEW.details ELSE NEW.attributes END,
            attributes =
                CASE WHEN NEW.attributes IS OLD.attributes THEN NEW.details ELSE NEW.attributes END
        WHERE id = NEW.id;
    END
    """,
)


def create_triggers() -> None:
    dialect = op.get_context().dialect.name
    for statement in {"postgresql": POSTGRESQL, "sqlite": SQLITE}.get(dialect, MYSQL):
        op.execute(statement)


def drop_triggers() -> None:
    dialect = op.get_context().dialect.name
    if dialect == "postgresql":
        op.execute("DROP TRIGGER shop_order_typed ON shop_order")
        op.execute("DROP FUNCTION shop_order_typed()")
        return
    op.execute("DROP TRIGGER shop_order_typed_insert")
    if dialect == "sqlite":
        op.execute("DROP TRIGGER shop_order_typed_status")
        op.execute("DROP TRIGGER shop_order_typed_details")
    else:
        op.execute("DROP TRIGGER shop_order_typed_update")


def upgrade() -> None:
    context = op.get_context()
    if not context.as_sql and (unknown := op.get_bind().scalars(UNKNOWN).all()):
        raise CommandError(f"shop_order.status has values that are no state: {sorted(unknown)}")
    if context.dialect.name == "postgresql":
        op.execute(f"CREATE TYPE shop_state AS ENUM ({ALL_STATES})")
    # create_type=False, else an enum that is used a second time is created a second time.
    state = sa.Enum(*STATES, name="shop_state").with_variant(
        postgresql.ENUM(name="shop_state", create_type=False), "postgresql"
    )
    attributes = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
    op.add_column("shop_order", sa.Column("state", state))
    op.add_column("shop_order", sa.Column("attributes", attributes))
    create_triggers()


def downgrade() -> None:
    drop_triggers()
    op.drop_column("shop_order", "attributes")
    op.drop_column("shop_order", "state")
    if op.get_context().dialect.name == "postgresql":
        op.execute("DROP TYPE shop_state")  # not dropped with its columns
