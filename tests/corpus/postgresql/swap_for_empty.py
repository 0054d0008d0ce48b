# expect: swap-table data-loss
import sqlalchemy as sa
from alembic import op

revision = "swap_for_empty"
down_revision = "before"


def upgrade() -> None:
    op.rename_table("settings", "settings_old")
    op.create_table(
        "settings", sa.Column("key", sa.Text, primary_key=True), sa.Column("value", sa.Text)
    )


def downgrade() -> None:
    op.drop_table("settings")
    op.rename_table("settings_old", "settings")
