"""env.py writes revisions: right on every dialect, self-contained, nothing dropped by accident."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from templates.env_project import TEMPLATES, EnvProject

ROOT = TEMPLATES.parent

NOTE = """
class Note(Base):
    __tablename__ = "note"
    id: Mapped[int] = mapped_column(primary_key=True)
"""

COLORS = """
class Color(enum.Enum):
    red = "red"
    green = "green"
"""


@pytest.fixture
def project(tmp_path: Path, database_url: str) -> EnvProject:
    return EnvProject.create(tmp_path / "project", database_url)


def test_seed_40_round_trip_of_many_types(project: EnvProject) -> None:
    project.models(
        COLORS
        + """
class Author(Base):
    __tablename__ = "author"
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(sa.String(50), unique=True, index=True)
    color: Mapped[Color] = mapped_column(sa.Enum(Color, native_enum=False), server_default="red")
    active: Mapped[bool] = mapped_column(server_default=sa.true())
    score: Mapped[decimal.Decimal] = mapped_column(sa.Numeric(10, 2), server_default=sa.text("0"))
    extra: Mapped[dict] = mapped_column(sa.JSON)
    seen: Mapped[datetime.datetime] = mapped_column(server_default=sa.func.now())
    __table_args__ = (sa.CheckConstraint("score >= 0", name="score_positive"),)

class Book(Base):
    __tablename__ = "book"
    id: Mapped[int] = mapped_column(primary_key=True)
    author_id: Mapped[uuid.UUID] = mapped_column(sa.ForeignKey("author.id", ondelete="CASCADE"))
    kind: Mapped[str] = mapped_column(sa.Enum("a", "b", name="kind", native_enum=False))
    """
    )
    project.autogenerate("initial")
    project.round_trip()


@pytest.fixture
def base_model_project(tmp_path: Path, database_url: str) -> EnvProject:
    source = (TEMPLATES / "base_model.py").read_text()
    return EnvProject.create(tmp_path / "project", database_url, base=source)


def test_seed_06_models_on_the_base_model_template(base_model_project: EnvProject) -> None:
    project = base_model_project
    project.models(
        COLORS
        + """
from app.db.base_model import BaseModel, SimpleBaseModel, VersionMixin, UTCDateTime

class Account(VersionMixin, BaseModel):
    __tablename__ = "account"
    email: Mapped[str] = mapped_column(sa.String(200), unique=True)
    color: Mapped[Color]
    seen_at: Mapped[datetime.datetime | None]
    due_at: Mapped[datetime.datetime | None] = mapped_column(UTCDateTime(), index=True)

class Tag(SimpleBaseModel):
    __tablename__ = "tag"
    account_id: Mapped[uuid.UUID] = mapped_column(sa.ForeignKey("account.id"))
    """
    )
    source = project.autogenerate("initial")
    # By hand as Alembic writes it, with the import that it forgets: what the type is in SQL is
    # written by generate-migration.sh, with any env.py (#13).
    assert "import app.db.base_model\n" in source
    assert "app.db.base_model.UTCDateTime(" in source
    project.round_trip()


@pytest.mark.dialects("postgresql", "sqlite")
def test_sqlmodel_and_custom_types(project: EnvProject) -> None:
    project.models(
        """
from sqlmodel import Field, SQLModel

class Upper(sa.types.TypeDecorator[str]):
    impl = sa.String(20)
    cache_ok = True

class Guid(sa.types.TypeDecorator[uuid.UUID]):
    impl = sa.CHAR(32)
    cache_ok = True
    def load_dialect_impl(self, dialect):
        native = dialect.name == "postgresql"
        return dialect.type_descriptor(sa.Uuid() if native else sa.CHAR(32))

class Hero(SQLModel, table=True):
    id: int | None = Field(default=None, primary_key=True)
    name: str = Field(index=True)
    short: str = Field(max_length=10)

SQLModel.metadata.naming_convention = Base.metadata.naming_convention
sa.Table("odd", SQLModel.metadata, sa.Column("id", Guid, primary_key=True), sa.Column("u", Upper))
        """
    )
    project.edit_env(
        'import_module("app.db.base_model").Base', 'import_module("sqlmodel").SQLModel'
    )
    source = project.autogenerate("initial")
    assert "import sqlmodel.sql.sqltypes\n" in source
    assert "import app.models\n" in source
    project.round_trip()


@pytest.mark.dialects("postgresql")
def test_a_type_of_another_package_is_imported(project: EnvProject) -> None:
    (project.root / "app/types.py").write_text(
        "import sqlalchemy as sa\n"
        "class Point(sa.types.UserDefinedType):\n"
        "    cache_ok = True\n"
        "    def get_col_spec(self, **kw): return 'POINT'\n"
    )
    project.models(NOTE + "    at: Mapped[str] = mapped_column(Point())\n")
    models = project.root / "app/models.py"
    models.write_text("from app.types import Point\n" + models.read_text())
    source = project.autogenerate("initial")
    assert "import app.types\n" in source
    project.alembic("upgrade", "head")


def test_enums_are_what_alembic_makes_of_them(project: EnvProject, dialect: str) -> None:
    """Before 0.6 env.py wrote CREATE TYPE, and values that were added; it did less than
    generate-migration.sh, which has all of it now, for any env.py (#13).
    """
    project.models(COLORS + NOTE + "    color: Mapped[Color]\n")
    source = project.autogenerate("initial")
    assert "sa.Enum('red', 'green', name='color')" in source
    assert "op.execute" not in source
    project.alembic("upgrade", "head")
    assert "No new upgrade operations" in project.alembic("check")


@pytest.mark.dialects("postgresql", "mysql")
def test_seed_36_tables_of_other_schemas_are_left_alone(
    project: EnvProject, dialect: str, make_database
) -> None:
    project.models(NOTE)
    if dialect == "postgresql":
        project.execute(
            "CREATE SCHEMA audit",
            "CREATE TABLE audit.ledger (id int)",
            "CREATE SCHEMA mine",
            "CREATE TABLE mine.stale (id int)",
            "CREATE TABLE mine.jobs (id int)",
        )
        project.edit_env(
            "UNMANAGED_TABLES: tuple[str, ...] = ()", "UNMANAGED_TABLES = ('mine.jobs',)"
        )
        project.models(
            NOTE
            + """
class Order(Base):
    __tablename__ = "order"
    __table_args__ = {"schema": "mine"}
    id: Mapped[int] = mapped_column(primary_key=True)
    note_id: Mapped[int] = mapped_column(sa.ForeignKey("note.id"))
        """
        )
    else:
        other = EnvProject(project.root, make_database("mysql"))
        other.execute("CREATE TABLE ledger (id int)")
    source = project.autogenerate("initial")
    assert "ledger" not in source and "jobs" not in source
    assert ("op.drop_table('stale', schema='mine')" in source) is (dialect == "postgresql")
    project.round_trip()


@pytest.mark.dialects("sqlite")
def test_an_empty_revision_is_not_written(project: EnvProject) -> None:
    project.models(NOTE)
    project.autogenerate()
    project.alembic("upgrade", "head")
    for arguments in (("-m", "nothing"), ()):
        output = project.alembic("revision", "--autogenerate", *arguments)
        assert "No changes between models and database: no revision written." in output
    assert "No new upgrade operations" in project.alembic("check")
    assert len(project.versions()) == 1
    project.alembic("revision", "-m", "by hand")
    ini = project.root / "alembic.ini"
    ini.write_text(ini.read_text().replace("[alembic]", "[alembic]\nrevision_environment = true"))
    project.alembic("upgrade", "head")
    project.alembic("revision", "-m", "by hand again")
    assert len(project.versions()) == 3
    project.alembic("upgrade", "head")
    # In-process, with a hook of the caller's that empties the revision first or sees it all.
    output = project.script(
        """
        seen = []
        def hook(context, revision, scripts):
            seen.append([script.upgrade_ops.is_empty() for script in scripts])
            if EMPTY:
                scripts.clear()
        for EMPTY in (False, True):
            print("script:", command.revision(
                config, "x", autogenerate=True, process_revision_directives=hook))
        command.check(config)
        print("seen:", seen)
        """
    )
    assert output.count("script: []") == 2
    assert "seen: [[True], [True]]" in output
    assert len(project.versions()) == 3


@pytest.mark.dialects("sqlite")
def test_a_callers_hook_sees_the_operations(project: EnvProject) -> None:
    project.models(COLORS + NOTE + "    color: Mapped[Color]\n")
    output = project.script(
        """
        def hook(context, revision, scripts):
            print("ops:", [type(op).__name__ for op in scripts[0].upgrade_ops.ops])
        script = command.revision(config, "x", autogenerate=True, process_revision_directives=hook)
        print("path:", script.path)
        """
    )
    assert "ops: ['CreateTableOp']" in output
    assert len(project.versions()) == 1
    project.round_trip()


def test_no_model_at_all_drops_nothing(project: EnvProject) -> None:
    project.execute("CREATE TABLE precious (id int)")
    output = project.alembic("revision", "--autogenerate", "-m", "oops", fails=True)
    assert "no model has a table" in output
    assert project.versions() == []
    assert "precious" not in project.alembic("check")
    project.alembic("upgrade", "head")


def test_what_is_for_another_database_is_left_out(project: EnvProject, dialect: str) -> None:
    """Left in, the migration would not run there, or never be in step with the model."""
    project.models(
        NOTE + "    t: Mapped[str] = mapped_column(sa.String(10))\n"
        "    __table_args__ = (\n"
        "        sa.Index('ix_hash', 't', postgresql_using='hash').ddl_if(dialect='postgresql'),\n"
        "        sa.Index('ix_plain', 't').ddl_if(dialect=('sqlite', 'mysql', 'mariadb')),\n"
        "    )\n"
    )
    source = project.autogenerate("initial")
    assert ("ix_hash" in source) is (dialect == "postgresql")
    assert ("ix_plain" in source) is (dialect != "postgresql")
    project.round_trip()


def test_changes_are_seen(project: EnvProject, dialect: str) -> None:
    project.models(
        NOTE + "    n: Mapped[int]\n    s: Mapped[str] = mapped_column(sa.String(10))\n"
        "    u: Mapped[int] = mapped_column(unique=True)\n"
    )
    source = project.autogenerate("initial")
    assert "batch_alter_table" not in source
    project.alembic("upgrade", "head")
    project.models(
        NOTE + "    n: Mapped[str] = mapped_column(sa.String(5))\n"
        "    s: Mapped[str] = mapped_column(sa.String(20))\n"
        "    u: Mapped[int]\n"
    )
    source = project.autogenerate("changes")
    assert ("batch_alter_table" in source) is (dialect == "sqlite")
    for part in ("type_=sa.String(length=20)", "uq_note_u"):
        assert part in source
    if dialect == "postgresql":  # which wants a USING for integer to varchar: none is needed
        assert "postgresql_using" not in source
    project.alembic("upgrade", "head")
    assert "No new upgrade operations" in project.alembic("check")


def test_checks_and_defaults_are_left_as_by_alembic_alone(project: EnvProject) -> None:
    """Alembic compares neither, unless told to. Told to, it takes a CHECK that a type or a hand
    has made for one too many, and names that were cut for others; it asks the server whether
    two defaults are equal, an error for some and never true of others. What changed there,
    generate-migration.sh says, which compares schemas (#13).
    """
    columns = (
        "    d: Mapped[int] = mapped_column(server_default=sa.text('1'))\n"
        "    kind: Mapped[str] = mapped_column(\n"
        "        sa.Enum('a', name='kind', native_enum=False, create_constraint=True))\n"
        "    flag: Mapped[bool] = mapped_column(sa.Boolean(name='flag', create_constraint=True))\n"
        '    quote: Mapped[str] = mapped_column(sa.String(9), server_default="it\'s")\n'
        f"    __table_args__ = (sa.CheckConstraint('d > 0', name='{'long_' * 15}'),)\n"
    )
    project.models(NOTE + columns)
    project.autogenerate("initial")
    project.alembic("upgrade", "head")
    # All but PostgreSQL show it as one of the column, which Alembic takes for another.
    project.execute("CREATE INDEX ix_note_d ON note (d DESC)")
    text = "sa.Index('ix_note_d', sa.text('d DESC'))"
    project.models(NOTE + columns.replace("args__ = (", f"args__ = ({text}, "))
    assert "No new upgrade operations" in project.alembic("check")


@pytest.mark.dialects("postgresql")
def test_op_knows_the_naming_convention(project: EnvProject) -> None:
    """Alembic takes it from a MetaData, not from a list with one."""
    project.models(NOTE + "    n: Mapped[int]\n")
    project.autogenerate("initial")
    project.alembic("upgrade", "head")
    (first,) = project.versions()
    revision = first.name.partition("-")[2].partition("_")[0]
    project.revision(
        1,
        "op.create_unique_constraint(None, 'note', ['n'])\n"
        "op.create_check_constraint('positive', 'note', 'n > 0')",
    )
    written = project.root / "alembic/versions/r1.py"
    text = written.read_text()
    written.write_text(
        text.replace("down_revision = None", f"down_revision = {revision.split('-')[-1]!r}")
    )
    project.alembic("upgrade", "head")
    names = project.execute(
        "SELECT conname FROM pg_constraint WHERE conrelid = 'note'::regclass ORDER BY 1"
    )
    assert names == [("ck_note_positive",), ("pk_note",), ("uq_note_n",)]


def test_tables_of_others_are_left_alone(project: EnvProject, dialect: str) -> None:
    """UNMANAGED_TABLES, and a mapped view; the zoo has partitions, extensions and the like."""
    project.models(
        NOTE + "class Seen(Base):\n    __tablename__ = 'seen'\n"
        "    __table_args__ = {'info': {'is_view': True}}\n"
        "    id: Mapped[int] = mapped_column(primary_key=True)\n"
    )
    source = project.autogenerate("initial")
    assert "'seen'" not in source
    project.alembic("upgrade", "head")
    project.execute("CREATE VIEW seen AS SELECT id FROM note", "CREATE TABLE jobs_a (id int)")
    refused = project.alembic("check", fails=True)
    assert "jobs_a" in refused and "UNMANAGED_TABLES" in refused
    project.edit_env("UNMANAGED_TABLES: tuple[str, ...] = ()", "UNMANAGED_TABLES = ('jobs_*',)")
    assert "No new upgrade operations" in project.alembic("check")


@pytest.mark.dialects("sqlite")
def test_an_old_alembic_is_one_line(project: EnvProject) -> None:
    (project.root / "sitecustomize.py").write_text(
        "import alembic\nalembic.__version__ = '1.17.2'\n"
    )
    project.variables["PYTHONPATH"] = str(project.root)
    output = project.alembic("current", fails=True)
    assert "env.py needs Alembic 1.18 or newer, this is 1.17.2" in output
    assert "Traceback" not in output


@pytest.mark.any_sqlalchemy
@pytest.mark.dialects("postgresql", "sqlite")
def test_the_generated_file_is_typed_and_clean(project: EnvProject, dialect: str) -> None:
    project.models(
        COLORS + NOTE + "    color: Mapped[Color]\n"
        "    j: Mapped[dict] = mapped_column(sa.JSON().with_variant(JSONB(), 'postgresql'))\n"
    )
    models = project.root / "app/models.py"
    models.write_text("from sqlalchemy.dialects.postgresql import JSONB\n" + models.read_text())
    project.autogenerate('initial: """quoted""" and C:\\new \\N{x}"')
    project.alembic("upgrade", "head")
    project.models(NOTE)
    project.autogenerate("drop")
    project.alembic("upgrade", "head")
    project.alembic("revision", "-m", "by hand")
    project.alembic("upgrade", "head")
    names = [path.name for path in project.versions()]
    assert all(name[:2] == "20" and name[4] == name[7] == name[10] == "_" for name in names), names
    files = [str(path) for path in project.versions()]
    ruff = [
        "ruff",
        "check",
        "--isolated",
        "--select",
        "E,F,W,I,B,UP,RUF,N",
        "--ignore",
        "E501,RUF100",
    ]
    # The settings and the cache of `make lint`, which knows the libraries already.
    mypy = ["mypy", "--config-file", str(ROOT / "pyproject.toml"), "--scripts-are-modules"]
    mypy += ["--cache-dir", str(ROOT / ".mypy_cache")]
    # PostgreSQL's has all that SQLite's has, and mypy takes ten seconds.
    for command in (ruff, mypy) if dialect == "postgresql" else (ruff,):
        if importlib.util.find_spec(command[0]):
            done = subprocess.run(
                [sys.executable, "-m", *command, *files],
                cwd=project.root,
                capture_output=True,
                text=True,
                check=False,
            )
            sources = "".join(path.read_text() for path in project.versions())
            assert done.returncode == 0, done.stdout + done.stderr + sources
    assert "Create Date: 20" in Path(files[0]).read_text()
    assert "+00:00" in Path(files[0]).read_text()


@pytest.mark.any_sqlalchemy
@pytest.mark.dialects("sqlite")
def test_env_is_short_enough_to_be_read() -> None:
    """Whoever copies it answers for it; what the scripts can do stands there (#13)."""
    assert len((TEMPLATES / "env.py").read_text().splitlines()) <= 300
