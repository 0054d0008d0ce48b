# expect: nothing
"""Small transactions."""

from alembic import op

revision = "safe_batched_backfill"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.get_context().autocommit_block():
        while (
            op.get_bind()
            .exec_driver_sql(
                "UPDATE users SET nick = name WHERE id IN"
                " (SELECT id FROM users WHERE nick IS NULL AND name IS NOT NULL LIMIT 1000)"
            )
            .rowcount
        ):
            pass


def downgrade() -> None:
    pass
