"""Where revisions lie is Alembic's answer: `alembic revision`, `heads` and `history` say it."""

import contextlib
import json
import re
import subprocess
import sys
from configparser import ParsingError
from dataclasses import replace
from pathlib import Path

import pytest
from alembic.config import Config

from projects import warm
from projects.setup_door import SCRIPTS, setup
from projects.shop import ADDRESS, FILES, Shop
from toolkit.connection.revision import unreadable
from toolkit.migration.generate import Wanted, bench_at_head, put_in_place, write_draft
from toolkit.migration.refusal import Refusal
from toolkit.project import ProjectError, read_project
from toolkit.report.exits import Exit

pytestmark = pytest.mark.any_sqlalchemy

# The ini (or what is added to pyproject.toml), and the folder of env.py. One of several
# folders has the head: `app/more`, where there is such a folder.
PLACES = {
    "package": (
        "alembic.ini",
        "[alembic]\nscript_location = app:migrations\n"
        "version_locations = app:migrations/versions\nprepend_sys_path = .\n",
        "app/migrations",
    ),
    "ini in a package": (
        "app/alembic.ini",
        "[alembic]\nscript_location = app:migrations\n"
        "version_locations = app:migrations/versions\nprepend_sys_path = %(here)s/..\n",
        "app/migrations",
    ),
    "three parts": (
        "alembic.ini",
        "[alembic]\nscript_location = app:store:migrations\nprepend_sys_path = .\n",
        "app/store/migrations",
    ),
    "several, old way": (
        "alembic.ini",
        "[alembic]\nscript_location = app:migrations\n"
        "version_locations = app:migrations/versions, app:more\nprepend_sys_path = .\n",
        "app/migrations",
    ),
    "several, space": (
        "alembic.ini",
        "[alembic]\nscript_location = app:migrations\nversion_path_separator = space\n"
        "version_locations = app:more app:migrations/versions\nprepend_sys_path = .\n",
        "app/migrations",
    ),
    "several, newline": (
        "alembic.ini",
        "[alembic]\nscript_location = app:migrations\npath_separator = newline\n"
        "version_locations =\n    app:migrations/versions\n    app:more\nprepend_sys_path = .\n",
        "app/migrations",
    ),
    "several, os": (
        "alembic.ini",
        "[alembic]\nscript_location = %(here)s/migrations\npath_separator = os\n"
        "version_locations = %(here)s/migrations/versions:%(here)s/app/more\n"
        "prepend_sys_path = .\n",
        "migrations",
    ),
    "several, colon, relative": (
        "alembic.ini",
        "[alembic]\nscript_location = migrations\nversion_path_separator = :\n"
        "version_locations = migrations/versions:app/more\nprepend_sys_path = .\n",
        "migrations",
    ),
    "pyproject": (
        "pyproject.toml",
        FILES["pyproject.toml"]
        + '\n[tool.alembic]\nscript_location = "app:migrations"\nprepend_sys_path = ["."]\n'
        'version_locations = ["app:migrations/versions", "%(here)s/app/more"]\n',
        "app/migrations",
    ),
    "an ini that leaves it to pyproject": (
        "alembic.ini",
        "[alembic]\nsqlalchemy.url = driver://user:pass@localhost/dbname\n",
        "app/migrations",
    ),
}
REVISION = (
    "revision = 'head1'\ndown_revision = None\n\ndef upgrade(): pass\ndef downgrade(): pass\n"
)


def alembic(shop: Shop, ini: Path, *arguments: str) -> str:
    """Alembic itself, beside its ini, as the user runs it."""
    ended = subprocess.run(
        [warm.python(), "-m", "alembic", "-c", str(ini), *arguments],
        cwd=ini.parent,
        env={**shop.environment(ADDRESS["sqlite"]), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def laid_out(root: Path, name: str) -> tuple[Shop, Path]:
    """The shop with its Alembic at another place, and the ini."""
    shop = Shop(root)
    ini, text, scripts = PLACES[name]
    (root / "alembic.ini").unlink()
    (root / scripts).parent.mkdir(parents=True, exist_ok=True)
    (root / "alembic").rename(root / scripts)
    shop.write(ini, text)
    if "leaves it" in name:
        shop.write(*PLACES["pyproject"][:2])
    if "more" in text or "leaves it" in name:
        shop.write("app/more/head1.py", REVISION)
    shop.remove_environment()
    return shop, root / ini


@pytest.mark.sweep(every=3)
@pytest.mark.parametrize("name", PLACES)
def test_a_revision_is_written_where_alembic_writes_it(name: str, tmp_path: Path) -> None:
    shop, ini = laid_out(tmp_path / "shop", name)
    before = shop.files()
    alembic(shop, ini, "revision", "-m", "oracle")
    (oracle,) = [shop.root / one for one in shop.files().keys() - before.keys() if "oracle" in one]
    oracle.unlink()

    ended = shop.generate("users", "--json")
    assert ended.code == 0, ended.err
    made = json.loads(ended.out)
    path, revision = Path(made["file"]), made["revision"]

    assert path.parent == oracle.parent
    new = {one for one in shop.files().keys() - before.keys() if not one.endswith(".pyc")}
    assert new == {str(path.relative_to(shop.root))}
    history = alembic(shop, ini, "history")
    assert f"{revision} (head)" in history
    assert ("head1" in history) == (shop.root / "app" / "more").is_dir()
    # What is told before Alembic is asked, agrees with it.
    (setup,) = read_project(shop.root).alembic
    assert path.parent in setup.versions


def test_setup_makes_no_folder_with_colons_in_its_name(tmp_path: Path) -> None:
    shop, ini = laid_out(tmp_path / "shop", "three parts")
    scripts = shop.root / "app" / "store" / "migrations"
    (scripts / "env.py").unlink()
    ended = setup(shop.root, url=ADDRESS["sqlite"])
    assert ended.code == 0, ended.err
    assert (scripts / "env.py").is_file()
    assert not [name for name in shop.files() if ":" in name]
    assert alembic(shop, ini, "heads") == ""


SECTIONS = """
[alembic]
file_template = %%(rev)s

[core]
script_location = %(here)s/alembic
prepend_sys_path = .
path_separator = os

[tenant "a"]
script_location = %(here)s/tenant
"""


@pytest.fixture
def sections(tmp_path: Path) -> Shop:
    """A project whose set-ups are sections that `alembic -n` names."""
    shop = Shop(tmp_path / "shop")
    shop.write("alembic.ini", SECTIONS)
    for name in ("env.py", "script.py.mako"):
        shop.write(f"tenant/{name}", FILES[f"alembic/{name}"])
    shop.write("tenant/versions/head1.py", REVISION)
    shop.remove_environment()
    return shop


def test_several_sections_are_several_set_ups(sections: Shop) -> None:
    before = sections.files()
    for door in ("setup-alembic.sh", "generate-migration.sh", "test-connection.sh"):
        more = ["x"] if door.startswith("generate") else []
        ended = warm.door(
            SCRIPTS / door, *more, cwd=sections.root, environment=sections.environment(None)
        )
        assert ended.returncode == Exit.AMBIGUOUS, ended.stderr
        assert "core" in ended.stderr
        assert 'tenant "a"' in ended.stderr
        assert "--name SECTION" in ended.stderr
    assert sections.files() == before
    # Who does not ask which history is meant, is not stopped.
    assert len(read_project(sections.root, one_alembic=False).alembic) == 2
    with pytest.raises(ProjectError) as refused:
        read_project(sections.root, name="tenants")
    assert refused.value.problem.exit_code == Exit.USAGE


def test_a_section_that_is_named_gets_the_revision(sections: Shop) -> None:
    before = sections.files()
    ended = sections.generate("users", "--json", "--name", 'tenant "a"')
    assert ended.code == 0, ended.err
    made = json.loads(ended.out)
    assert Path(made["file"]).parent == sections.root / "tenant" / "versions"
    ini = sections.root / "alembic.ini"
    history = alembic(sections, ini, "-n", 'tenant "a"', "history")
    assert f"head1 -> {made['revision']} (head)" in history
    assert not alembic(sections, ini, "-n", "core", "history")
    assert set(sections.files()) - set(before) == {
        str(Path(made["file"]).relative_to(sections.root))
    }
    # The command that is printed works as it stands.
    subprocess.run(
        ["bash", "-c", made["next"][-1]],
        cwd=sections.root,
        env={**sections.environment(None), "PATH": f"{Path(sys.prefix) / 'bin'}:/usr/bin:/bin"},
        check=True,
        capture_output=True,
    )
    current = alembic(sections, ini, "-n", 'tenant "a"', "current")
    assert made["revision"] in current
    connection = warm.door(
        SCRIPTS / "test-connection.sh",
        "--name",
        'tenant "a"',
        cwd=sections.root,
        environment=sections.environment(None),
    )
    assert f"at the head, {made['revision']}" in connection.stdout, connection.stderr


def test_setup_makes_no_second_history(sections: Shop) -> None:
    """One named section is the project's set-up."""
    sections.edit("alembic.ini", '[tenant "a"]\nscript_location = %(here)s/tenant\n', "")
    before = sections.files()
    ended = setup(sections.root)
    assert ended.code == 0, ended.err
    assert sections.files() == before
    assert "nothing to do" in ended.out
    assert "alembic -n core upgrade head" in ended.out


def test_a_folder_that_was_renamed_gets_no_second_history(tmp_path: Path) -> None:
    shop = Shop(tmp_path / "shop")
    shop.add_first()
    (shop.root / "alembic").rename(shop.root / "migrations")
    shop.remove_environment()
    before = shop.files()
    for ended in (setup(shop.root), shop.generate("users")):
        assert ended.code == Exit.BROKEN_PROJECT
        assert "alembic.ini leads to alembic, where no env.py is; migrations has one" in ended.err
        assert shop.files() == before
    assert not read_project(shop.root).undecided.keys() - {"alembic"}  # others go on

    (line,) = re.findall(r"write (script_location = \S+) in alembic\.ini", ended.err)
    ini = shop.root / "alembic.ini"
    ini.write_text(re.sub(r"script_location = .*", line, ini.read_text(encoding="utf-8")))
    assert alembic(shop, ini, "heads").split()[0] == "first"
    assert "nothing to do" in setup(shop.root).out


@pytest.mark.parametrize(
    ("encoding", "why"),
    [
        ("utf-8-sig", "it begins with a byte order mark"),
        ("utf-16", "it begins with a byte order mark"),
        ("latin-1", "line 1 is no UTF-8"),
        ("utf-8", ""),
    ],
)
def test_an_ini_that_only_alembic_cannot_read(encoding: str, why: str, tmp_path: Path) -> None:
    """As PowerShell and old editors write it."""
    shop = Shop(tmp_path / "shop")
    ini = shop.root / "alembic.ini"
    ini.write_text(f"# Für alle\n{ini.read_text(encoding='utf-8')}", encoding=encoding)
    problem = read_project(shop.root).undecided.get("alembic")
    assert (problem.message if problem else "") == (
        why and f"Alembic cannot read alembic.ini: {why}"
    )
    with contextlib.nullcontext() if not why else pytest.raises((UnicodeError, ParsingError)):
        assert Config(str(ini)).get_main_option("script_location")


def test_a_file_that_alembic_does_not_see_is_no_success(tmp_path: Path) -> None:
    shop, ini = laid_out(tmp_path / "shop", "pyproject")
    before = shop.files()
    project, wanted = read_project(shop.root), Wanted("users")
    with bench_at_head(project, wanted, lambda _line: None) as bench:
        draft = write_draft(bench, wanted, project.models)
        assert draft is not None
        elsewhere = replace(bench.situation, destination=shop.root / "app:migrations" / "versions")
        with pytest.raises(Refusal) as refused:
            put_in_place(replace(bench, situation=elsewhere), draft, lambda _line: None)
    assert refused.value.problem.exit_code == Exit.PROOF_FAILED
    assert "Alembic does not see" in refused.value.problem.message
    assert shop.files() == before
    assert not (shop.root / "app:migrations").exists()
    assert alembic(shop, ini, "heads").split()[0] == "head1"


def test_revisions_are_imported_after_env_py(tmp_path: Path) -> None:
    """As `alembic upgrade` does: what a revision imports may change what env.py can import."""
    shop = Shop(tmp_path / "shop")
    # Whole if `kinds` comes first, as for the models; a class short if `columns` does.
    shop.write(
        "app/kinds.py",
        "try:\n    from app.columns import Short\nexcept ImportError:\n    pass\n",
    )
    shop.write(
        "app/columns.py",
        "import app.kinds\nfrom sqlalchemy import String\n\n\nclass Short(String):\n    pass\n",
    )
    shop.edit("app/models.py", "from app.db", "from app.kinds import Short\nfrom app.db")
    shop.add_first()
    shop.edit(
        "alembic/versions/first.py", "import sqlalchemy", "import app.columns\nimport sqlalchemy"
    )
    shop.remove_environment()
    alembic(shop, shop.root / "alembic.ini", "upgrade", "head")
    alembic(shop, shop.root / "alembic.ini", "check")
    ended = shop.generate("--check")
    assert ended.code == 0, ended.err


@pytest.mark.parametrize(
    ("option", "known"),
    [
        ('version_table="shop_version"', True),
        ("version_table = None", True),
        ('version_table=f"{PREFIX}version"', False),
        ('version_table=config.get_main_option("version_table_name")', False),
        ("version_table_schema=SCHEMA", True),
    ],
)
def test_a_version_table_whose_name_is_computed_is_not_guessed(
    tmp_path: Path, option: str, known: bool
) -> None:
    shop = Shop(tmp_path / "shop")
    shop.edit("alembic/env.py", "=Base.metadata)", f"=Base.metadata, {option})")
    step = unreadable(read_project(shop.root))
    assert (step is None) == known
    assert known or "alembic current" in str(step)
