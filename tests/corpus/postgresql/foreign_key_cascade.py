# expect: foreign-key-scan blocks
"""ON DELETE CASCADE is no DROP ... CASCADE."""

from alembic import op

revision = "foreign_key_cascade"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_foreign_key(
        "fk_u",
        "orders",
        "users",
        ["user_id"],
        ["id"],
        ondelete="CASCADE",
        deferrable=True,
        initially="DEFERRED",
    )


def downgrade() -> None:
    op.drop_constraint("fk_u", "orders")
