"""An enum gets a value.

PostgreSQL: ALTER TYPE ... ADD VALUE, no table is touched. A value cannot be used in the
transaction that added it: it is committed by itself. No process may write it before. MySQL: at the
end of the list, instant. SQLite: the CHECK is replaced, so the table is rebuilt.
The way back is what state_returned_removed does.
"""

from collections.abc import Sequence

from alembic import op

revision: str = "state_refunded"
down_revision: str | Sequence[str] | None = "typed_contract"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

CHECK = "ck_shop_order_state"


def upgrade() -> None:
    context = op.get_context()
    if context.dialect.name == "postgresql":
        with context.autocommit_block():
            op.execute("ALTER TYPE shop_state ADD VALUE IF NOT EXISTS 'refunded'")
    else:
        set_states("'new', 'paid', 'returned', 'refunded'")


def downgrade() -> None:
    op.execute("UPDATE shop_order SET state = 'returned' WHERE state = 'refunded'")
    set_states("'new', 'paid', 'returned'")


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
