"""The command after "next:" is carried out where it was read, and does what it says (#12).

Those of test-connection.sh are in test_connection_faults.py, what a refusal offers beside each
refusal. A line that asks a person to decide ("Update the code, or check the database's name") is
no command.
"""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from projects import warm
from projects.setup_door import SCRIPTS
from projects.shop import Shop

pytestmark = pytest.mark.any_sqlalchemy


def carry_out(command: str, folder: Path, environment: dict[str, str]) -> str:
    """One of our scripts, or what a shell finds; its output. Fails where it does."""
    words = shlex.split(command)
    if (door := SCRIPTS / words[0]).is_file():
        ended = warm.door(door, *words[1:], cwd=folder, environment=environment)
        assert ended.returncode == 0, (command, ended.stderr)
        return ended.stdout
    path = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    done = subprocess.run(
        ["bash", "-c", command], cwd=folder, env={**environment, "PATH": path},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, (command, done.stderr)
    return done.stdout


def next_of(text: str) -> list[str]:
    """The commands of the last line."""
    found = re.fullmatch(r"next: (.+?)(?:, then `(.+)`)?", text.splitlines()[-1])
    assert found, text
    return [one for one in found.groups() if one]


@pytest.mark.parametrize("ini", ["alembic.ini", "my alembic.ini"])
def test_what_setup_says_to_do_works_from_another_folder(tmp_path: Path, ini: str) -> None:
    """The project's folder has a space in its name, the ini as well."""
    shop = Shop(tmp_path / "my shop")
    (shop.root / "alembic.ini").rename(shop.root / ini)
    shop.add_revision("other", None)
    environment = shop.environment(f"sqlite+aiosqlite:///{tmp_path}/own.db")
    given = ["--project", "my shop", *([] if ini == "alembic.ini" else ["--ini", f"my shop/{ini}"])]
    said = carry_out(shlex.join(["setup-alembic.sh", *given]), tmp_path, environment)
    generate, upgrade = next_of(said)
    assert "Created" in carry_out(generate, tmp_path, environment)
    carry_out(upgrade, tmp_path, environment)
    assert (tmp_path / "own.db").exists()
    current = carry_out(upgrade.replace("upgrade head", "current"), tmp_path, environment)
    assert "(head)" in current
