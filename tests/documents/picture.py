"""examples/review.svg, the picture on top of the README: `make picture` (#16).

What it shows is what the scripts print, in a project that they made on PostgreSQL: an index is
asked for, and the review of the new revision says what it would do to those who write. The
project's folder, the one thing that differs from run to run, is cut from the lines.
"""

import io
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "examples" / "review.svg"
MODEL = """
from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from app.db.base_model import BaseModel


class Order(BaseModel):
    __tablename__ = "orders"

    status: Mapped[str] = mapped_column(String(20){index})
"""
CHANGED = "    status: Mapped[str] = mapped_column(String(20), index=True)    # the model, changed"
STYLES = (("$", "bold white"), ("BLOCKS", "bold red"), ("Proved", "green"), ("The review", "bold"))
COLUMNS = 110


def run(script: str, *words: str, cwd: Path) -> str:
    """What one of the scripts prints on its standard output. Raises CalledProcessError."""
    environment = {
        **os.environ,
        "VIRTUAL_ENV": sys.prefix,
        # Nobody is asked there: the proof has a server of its own.
        "DATABASE_URL": "postgresql+asyncpg://shop@localhost/shop",
    }
    command = ["bash", str(ROOT / "scripts" / script), *words]
    ended = subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, check=True
    )
    return ended.stdout.replace(f"{cwd}/", "")


def reviewed(project: Path) -> str:
    """The output of generate-migration.sh for an index on a table that exists."""
    (project / "app").mkdir(parents=True)
    (project / "app" / "__init__.py").write_text("")
    (project / "app" / "main.py").write_text("from fastapi import FastAPI\n\napp = FastAPI()\n")
    (project / "pyproject.toml").write_text('[project]\nname = "shop"\nversion = "1"\n')
    run("setup-alembic.sh", "--scaffold", "app.db", "--no-prove", cwd=project)
    models = project / "app" / "db" / "models.py"
    models.write_text(MODEL.format(index=""))
    run("generate-migration.sh", "add orders", cwd=project)
    models.write_text(MODEL.format(index=", index=True"))
    return run("generate-migration.sh", "find orders by status", cwd=project)


def drawn(output: str) -> str:
    """The picture of a terminal in which it was printed."""
    command = '$ bash "<skill>/scripts/generate-migration.sh" "find orders by status"'
    lines = [CHANGED, "", command, *output.partition("\nNext:")[0].rstrip().splitlines()]
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    for line in lines:
        style = next((style for start, style in STYLES if line.startswith(start)), "")
        console.print(Text(line, style=style or ("cyan" if line.startswith("      ") else "")))
    made = console.export_svg(title="generate-migration.sh on PostgreSQL", unique_id="review")
    # Fonts from elsewhere: a picture in a page may not load them.
    return re.sub(r"\s*@font-face \{.*?\}", "", made, flags=re.DOTALL)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        FILE.write_text(drawn(reviewed(Path(folder) / "shop")), encoding="utf-8")
    print(f"wrote {FILE.relative_to(ROOT)}: {FILE.stat().st_size // 1024} KB")


if __name__ == "__main__":
    main()
