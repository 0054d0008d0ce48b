# expect: nothing
"""A function of the file with a constant of its, and a loop over names."""

from alembic import op

revision = "safe_helper"
down_revision = "before"
branch_labels = None
depends_on = None

NAMES = ("users", "orders")


def comment(names: tuple[str, ...]) -> None:
    for name in names:
        op.execute(f"COMMENT ON TABLE {name} IS 'of the shop'")


def upgrade() -> None:
    if NAMES:
        comment(NAMES)


def downgrade() -> None:
    pass
