# expect: downgrade-raises irreversible
"""There is no way back, and it says so."""

import sqlalchemy as sa
from alembic import op

revision = "downgrade_raises"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("notes", sa.Column("at", sa.DateTime))


def downgrade() -> None:
    raise NotImplementedError("there is no way back")
