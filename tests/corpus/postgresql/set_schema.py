# expect: rename-table breaks-old-code
from alembic import op

revision = "set_schema"
down_revision = "before"


def upgrade() -> None:
    op.execute("ALTER TABLE settings SET SCHEMA archive")


def downgrade() -> None:
    op.execute("ALTER TABLE archive.settings SET SCHEMA public")
