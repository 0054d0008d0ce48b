# expect: swap-table data-loss
from alembic import op

revision = "swap_by_copy"
down_revision = "before"


def upgrade() -> None:
    op.execute("CREATE TABLE settings_new (LIKE settings INCLUDING ALL)")
    op.execute("INSERT INTO settings_new SELECT * FROM settings")
    op.rename_table("settings", "settings_old")
    op.rename_table("settings_new", "settings")


def downgrade() -> None:
    op.drop_table("settings")
    op.rename_table("settings_old", "settings")
