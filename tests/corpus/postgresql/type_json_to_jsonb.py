# expect: type-change-rewrite blocks
"""jsonb is stored in another form."""

from alembic import op

revision = "type_json_to_jsonb"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE users ALTER COLUMN payload TYPE jsonb USING payload::jsonb")


def downgrade() -> None:
    op.execute("ALTER TABLE users ALTER COLUMN payload TYPE json USING payload::json")
