# expect: check-scan blocks
"""Old code writes text that is no JSON."""

from alembic import op

revision = "type_text_to_json"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE users MODIFY bio JSON")


def downgrade() -> None:
    op.execute("ALTER TABLE users MODIFY bio TEXT")
