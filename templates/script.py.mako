<%
    import os

    # The message is a person's: it may not end the docstring, nor be an escape in it.
    title = (message or "(no message)").replace("\\", "\\\\").replace('"', "'")
    body = f"{upgrades or ''}{downgrades or ''}"
    # A revision to be written by hand has both imports ready, used or not.
    unused = "" if body else "  # noqa: F401"
    lines = [f"from alembic import op{unused}"] if "op." in body or not body else []
    if "sa." in body or not body:
        lines.append(f"import sqlalchemy as sa{unused}")
    lines += imports.splitlines() if imports else []
    lines.sort(key=lambda line: (line.startswith("from"), line))
    # Beside a folder of that name linters take `alembic` for a package of the project.
    if os.path.isdir("alembic") and len(lines) > 1:
        last = [line for line in lines if line.startswith("from alembic import")]
        lines = [line for line in lines if line not in last] + ["", *last] if last else lines
%>\
"""${title}

Revision ID: ${up_revision}
Revises: ${down_revision or "<base>" | comma,n}
Create Date: ${create_date}

Deploy contract: the application's last version still runs while and after this is applied.
"""

from collections.abc import Sequence
% if lines:

${"\n".join(lines)}
% endif

revision: str = ${repr(up_revision)}
down_revision: str | Sequence[str] | None = ${repr(down_revision)}
branch_labels: str | Sequence[str] | None = ${repr(branch_labels)}
depends_on: str | Sequence[str] | None = ${repr(depends_on)}


def upgrade() -> None:
    """Apply the change."""
    ${upgrades if upgrades else "pass"}


def downgrade() -> None:
    """Undo the change."""
    ${downgrades if downgrades else "pass"}
