# expect: rename-column breaks-old-code
"""The same in SQL."""

import sqlalchemy as sa
from alembic import op

revision = "rename_column_raw"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.get_bind().execute(sa.text("ALTER TABLE users RENAME nick TO nickname"))


def downgrade() -> None:
    op.execute("ALTER TABLE users RENAME nickname TO nick")
