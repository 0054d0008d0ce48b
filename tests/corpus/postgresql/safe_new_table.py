# expect: nothing
"""Nobody uses it yet: anything goes."""

import sqlalchemy as sa
from alembic import op

revision = "safe_new_table"
down_revision = "before"
branch_labels = None
depends_on = None

TAGS = sa.table("tags", sa.column("id"), sa.column("name"), sa.column("slug"))


def upgrade() -> None:
    op.create_table(
        "tags",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", sa.String(40)),
        sa.Column("slug", sa.String(40)),
    )
    op.create_index("ix_tags_name", "tags", ["name"])
    op.create_unique_constraint("tags_slug_key", "tags", ["slug"])
    op.create_check_constraint("tags_name_check", "tags", "name <> ''")
    op.alter_column("tags", "name", nullable=False)
    op.alter_column("tags", "id", type_=sa.BigInteger)
    op.bulk_insert(TAGS, [{"id": 1, "name": "a", "slug": "a"}])
    op.execute("UPDATE tags SET slug = name")


def downgrade() -> None:
    op.drop_table("tags")
