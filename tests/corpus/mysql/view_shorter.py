# expect: view-loses-column breaks-old-code
"""A view in the place of another, with less in it."""

from alembic import op

revision = "view_shorter"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("CREATE OR REPLACE VIEW active_users AS SELECT id FROM users")


def downgrade() -> None:
    op.execute("CREATE OR REPLACE VIEW active_users AS SELECT id, email FROM users")
