"""The two branches become one head again.

Written by `alembic merge heads -m "merge phone and note"`. It changes nothing, and is right only
if the branches do not touch the same things. While a branch is not deployed anywhere, changing
its down_revision to the other one keeps the history a line, and needs no merge.
"""

from collections.abc import Sequence

revision: str = "merge_phone_and_note"
down_revision: str | Sequence[str] | None = ("customer_note", "customer_phone")
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    pass


def downgrade() -> None:
    pass
