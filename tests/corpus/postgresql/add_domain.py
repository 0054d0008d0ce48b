# expect: add-column-rewrite blocks
from alembic import op

revision = "add_domain"
down_revision = "before"


def upgrade() -> None:
    op.execute("CREATE DOMAIN positive AS int CHECK (VALUE > 0)")
    op.execute("ALTER TABLE users ADD COLUMN rank positive DEFAULT 1")


def downgrade() -> None:
    op.drop_column("users", "rank")
    op.execute("DROP DOMAIN positive")
