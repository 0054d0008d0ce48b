# expect: rename-type breaks-old-code
"""Code asks for the type by its name."""

from alembic import op

revision = "type_set_schema"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TYPE status SET SCHEMA archive")


def downgrade() -> None:
    op.execute("ALTER TYPE archive.status SET SCHEMA public")
