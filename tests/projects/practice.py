"""What each of the programs of `warm` would do first, done once in the process that forks them.

Of that much is kept: compiled expressions, a mapper's wrappers, Alembic's template. A door with a
proof takes a tenth less then (#10).
"""

import contextlib
import gc
import io
import shutil
import sys
import tempfile
import typing
from pathlib import Path

import alembic.config
from sqlalchemy.orm import DeclarativeBase

COMMANDS = ("revision --autogenerate -m first", "upgrade head", "downgrade base")
INI = """
[alembic]
script_location = %(here)s/alembic
prepend_sys_path = .
path_separator = os
"""
MODELS = """
from sqlalchemy import ForeignKey, MetaData, String, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship


class Base(DeclarativeBase):
    metadata = MetaData(naming_convention={
        "ix": "ix_%(column_0_label)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    })


class Parent(Base):
    __tablename__ = "parents"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(20), unique=True, server_default=text("'x'"))
    children: Mapped[list["Child"]] = relationship(back_populates="parent")


class Child(Base):
    __tablename__ = "children"

    id: Mapped[int] = mapped_column(primary_key=True)
    parent_id: Mapped[int] = mapped_column(ForeignKey("parents.id"), index=True)
    note: Mapped[str | None]
    parent: Mapped[Parent] = relationship(back_populates="children")
"""
ENV = """
from alembic import context
from sqlalchemy import create_engine

from practised_models import Base

engine = create_engine("sqlite:///practised.db")
with engine.connect() as connection:
    context.configure(connection=connection, target_metadata=Base.metadata, render_as_batch=True)
    with context.begin_transaction():
        context.run_migrations()
engine.dispose()
"""


def practise() -> None:
    """A project in a folder that goes again; RuntimeError if any of it stays in this process."""
    path, known = list(sys.path), set(sys.path_importer_cache)
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        scripts = Path("alembic")
        (scripts / "versions").mkdir(parents=True)
        (scripts / "env.py").write_text(ENV)
        template = Path(alembic.__file__).with_name("templates") / "async" / "script.py.mako"
        shutil.copy(template, scripts)
        Path("practised_models.py").write_text(MODELS)
        Path("alembic.ini").write_text(INI)
        for command in COMMANDS:
            with contextlib.redirect_stdout(io.StringIO()):
                alembic.config.main(command.split())
    sys.path[:] = path
    for name in set(sys.path_importer_cache) - known:  # "." is of that folder
        del sys.path_importer_cache[name]
    sys.modules.pop("practised_models").Base.registry.dispose()
    for forget in typing._cleanups:  # type: ignore[attr-defined]  (its caches hold the models)
        forget()
    gc.collect()
    if left := DeclarativeBase.__subclasses__():
        raise RuntimeError(f"programs would find {left} beside their own models")
