# expect: rows-one-by-one blocks
"""A list of parameters is a loop, too."""

import sqlalchemy as sa
from alembic import op

revision = "rows_in_executemany"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    bind = op.get_bind()
    t = sa.table("users", sa.column("id"), sa.column("nick"), sa.column("name"))
    rows = bind.execute(sa.select(t.c.id, t.c.name)).all()
    bind.execute(
        t.update().where(t.c.id == sa.bindparam("b_id")),
        [{"b_id": r.id, "nick": r.name} for r in rows] or [{"b_id": 0, "nick": ""}],
    )


def downgrade() -> None:
    pass
