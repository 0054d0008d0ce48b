"""Python that the interpreter cannot parse: the file is named, the rest is read (#12)."""

import json
from pathlib import Path

import pytest

from projects import warm
from projects.setup_door import SCRIPTS, setup
from projects.shop import Shop
from toolkit.project import read_project
from toolkit.report.exits import Exit

pytestmark = pytest.mark.any_sqlalchemy

SKETCH = "class {{ name }}(Base):\n    __tablename__ = '{{ table }}'\n"
NEWER = (
    "from app.db import Base\n\n\nclass Payment(Base):\n    __tablename__ = 'payments'\n"
    "    id: Mapped[int] = mapped_column(primary_key=True)\n\n    def pay(self) -> a b:\n"
)
NAMED = "not read, since it cannot be: app/{name}:{line} "


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    made = Shop(tmp_path / "shop")
    made.remove_environment()
    made.add_first()
    return made


def test_setup_has_nothing_to_do(shop: Shop) -> None:
    shop.write("app/sketch.py", SKETCH)
    ended = setup(shop.root, "--json")
    assert ended.code == 0, ended.err
    assert ended.document["status"] == "nothing-to-do"
    assert any(
        note.startswith(NAMED.format(name="sketch.py", line=1)) for note in ended.document["notes"]
    )


@pytest.mark.parametrize(
    ("line", "stops"),
    [
        ("return file.metadata  # and the metadata of its parts", False),
        ('payments = T("payments", metadata, id_column)', True),
        ("metadata = MetaData()", True),
    ],
)
def test_metadata_is_a_word_about_files_too(line: str, stops: bool, shop: Shop) -> None:
    shop.write("app/files.py", f"import sqlalchemy\n<<<<<<< HEAD\n{line}\n")
    assert ("models" in read_project(shop.root).undecided) == stops


def test_setup_writes_no_list_that_would_lack_it(shop: Shop) -> None:
    shop.write("app/payment.py", NEWER)
    (shop.root / "alembic" / "env.py").unlink()
    before = shop.files()
    ended = setup(shop.root, "--json")
    assert ended.code == Exit.BROKEN_PROJECT
    assert "app/payment.py:8 " in ended.document["message"]
    assert shop.files() == before


def test_a_migration_goes_on(shop: Shop) -> None:
    shop.write("app/sketch.py", SKETCH)
    shop.edit("app/models.py", "    nick:", "    name: Mapped[str | None]\n    nick:")
    ended = shop.generate("names")
    assert ended.code == 0, ended.err
    assert NAMED.format(name="sketch.py", line=1) in ended.err


def test_a_migration_that_would_drop_its_table_does_not(shop: Shop) -> None:
    shop.write("app/payment.py", NEWER)
    shop.add_revision("pay", "first", 'op.create_table("payments", sa.Column("id", sa.Integer()))')
    body = 'def downgrade():\n    op.drop_table("payments")\n'
    shop.edit("alembic/versions/pay.py", "def downgrade():\n    pass\n", body)
    for arguments in (["names"], ["--check"]):
        ended = shop.generate("--json", *arguments)
        assert ended.code == Exit.BROKEN_PROJECT
        assert "app/payment.py" in json.loads(ended.out)["message"]
    (shop.root / "app" / "payment.py").unlink()
    assert shop.generate("names").code == 0


@pytest.mark.parametrize(
    ("door", "arguments"),
    [("optimize-queries.sh", ["--layers", "code"]), ("test-connection.sh", ["--url", "sqlite://"])],
)
def test_who_needs_no_models_reads_on(door: str, arguments: list[str], shop: Shop) -> None:
    shop.write("app/payment.py", NEWER)
    ended = warm.door(SCRIPTS / door, *arguments, cwd=shop.root, environment=shop.environment(None))
    assert ended.returncode == 0, ended.stdout + ended.stderr
    if door.startswith("optimize"):
        assert NAMED.format(name="payment.py", line=8) in ended.stderr
