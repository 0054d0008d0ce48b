# expect: nothing
"""The CHECK proves that the rows belong there."""

from alembic import op

revision = "safe_attach_with_check"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        "ALTER TABLE events_2026 ADD CONSTRAINT at_2026"
        " CHECK (at >= '2026-01-01' AND at < '2027-01-01') NOT VALID"
    )
    with op.get_context().autocommit_block():
        op.execute("ALTER TABLE events_2026 VALIDATE CONSTRAINT at_2026")
    op.execute(
        "ALTER TABLE events ATTACH PARTITION events_2026"
        " FOR VALUES FROM ('2026-01-01') TO ('2027-01-01')"
    )


def downgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute("ALTER TABLE events DETACH PARTITION events_2026 CONCURRENTLY")
