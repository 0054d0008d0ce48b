# expect: depends-on-environment drift
"""Asked when the file is read."""

import os

from alembic import op

revision = "environment_of_module"
down_revision = "before"
branch_labels = None
depends_on = None

WHERE = os.environ.get("WHERE", "here")


def upgrade() -> None:
    if WHERE == "production":
        op.execute("CREATE INDEX CONCURRENTLY ix_users_name ON users (name)")


def downgrade() -> None:
    pass
