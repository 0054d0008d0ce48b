# expect: primary-key-scan blocks, drop-unique breaks-old-code
"""A new primary key builds its index."""

from alembic import op

revision = "primary_key_swap"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_constraint("settings_pkey", "settings")
    op.create_primary_key("settings_pkey", "settings", ["key", "value"])


def downgrade() -> None:
    op.drop_constraint("settings_pkey", "settings")
    op.alter_column("settings", "value", nullable=True)
    op.create_primary_key("settings_pkey", "settings", ["key"])
