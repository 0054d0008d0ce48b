"""An enum loses a value.

PostgreSQL cannot drop one: the type is replaced, and the table written anew under AccessExclusive.
Its default must go first, it cannot be cast. For a large table take typed_expand's way, or leave
the value and add CHECK (state <> 'returned') NOT VALID. MySQL: copies the table, writers wait.
SQLite: the table is rebuilt.
Deploy when no process writes the value any more. The way back does not know which rows had it.
"""

from collections.abc import Sequence

from alembic import op

revision: str = "state_returned_removed"
down_revision: str | Sequence[str] | None = "state_refunded"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

CHECK = "ck_shop_order_state"


def upgrade() -> None:
    op.execute("UPDATE shop_order SET state = 'refunded' WHERE state = 'returned'")
    set_states("'new', 'paid', 'refunded'")


def downgrade() -> None:
    set_states("'new', 'paid', 'returned', 'refunded'")


def set_states(states: str) -> None:
    dialect = op.get_context().dialect.name
    if dialect == "postgresql":
        op.execute("ALTER TYPE shop_state RENAME TO shop_state_old")
        op.execute(f"CREATE TYPE shop_state AS ENUM ({states})")
        op.execute(
            "ALTER TABLE shop_order ALTER state DROP DEFAULT, "
            "ALTER state TYPE shop_state USING state::text::shop_state, "
            "ALTER state SET DEFAULT 'new'"
        )
        op.execute("DROP TYPE shop_state_old")
    elif dialect == "sqlite":
        with op.batch_alter_table("shop_order") as table:
            table.drop_constraint(CHECK, type_="check")
            table.create_check_constraint(CHECK, f"state IN ({states})")
    else:
        op.execute(f"ALTER TABLE shop_order MODIFY state ENUM({states}) NOT NULL DEFAULT 'new'")
