"""Projects whose code goes round SQLAlchemy to a real database, in each of the usual ways.

The address is a literal of the source: nothing that is hidden in an environment helps.
"""

from pathlib import Path

from sqlalchemy.engine import make_url

from harm.production import Production
from projects.layouts import write
from toolkit.project import read_project
from toolkit.project.facts import Project

MODELS = """\
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    pass


class Item(Base):
    __tablename__ = "items"

    id: Mapped[int] = mapped_column(primary_key=True)
"""
ENV = """\
import os

from alembic import context
from sqlalchemy import create_engine

from models import Base

engine = create_engine(os.environ.get("DATABASE_URL", "%(url)s"))
with engine.connect() as connection:
    context.configure(connection=connection, target_metadata=Base.metadata)
    with context.begin_transaction():
        context.run_migrations()
"""
REVISION = """\
revision, down_revision, branch_labels, depends_on = "0001", None, None, None
import sqlalchemy as sa
from alembic import op


def upgrade():
%s


def downgrade():
    pass
"""

# A module that harms with a driver, past SQLAlchemy.
RAW = {
    "postgresql": """\
import asyncio
URL, DSN = {url!r}, {dsn!r}
HARM = "DROP TABLE audit.log"

def harm():
    import psycopg
    with psycopg.connect(DSN, autocommit=True) as connection:
        connection.execute(HARM)

def harm_async():
    import asyncpg
    async def run():
        connection = await asyncpg.connect(DSN)
        await connection.execute(HARM)
    asyncio.run(run())
""",
    "mysql": """\
import asyncio
URL = {url!r}
HARM = "DROP TABLE harm_crm.log"
LOGIN = dict(host={host!r}, port={port}, user={user!r}, password={password!r})

def harm():
    import pymysql
    pymysql.connect(**LOGIN).cursor().execute(HARM)

def harm_async():
    import aiomysql
    async def run():
        connection = await aiomysql.connect(**LOGIN)
        await (await connection.cursor()).execute(HARM)
    asyncio.run(run())
""",
    "sqlite": """\
import asyncio
URL, FILE = {url!r}, {file!r}
HARM = "DROP TABLE calls"

def harm():
    import sqlite3
    with sqlite3.connect(FILE) as connection:
        connection.execute(HARM)

def harm_async():
    import aiosqlite
    async def run():
        async with aiosqlite.connect(FILE) as connection:
            await connection.execute(HARM)
            await connection.commit()
    asyncio.run(run())
""",
}
# How it comes to it; each raises what it met.
WAYS = {
    "driver": "import raw\nraw.harm()",
    "async driver": "import raw\nraw.harm_async()",
    "thread": """\
import raw, threading
met = []
def work():
    try:
        raw.harm()
    except OSError as error:
        met.append(error)
one = threading.Thread(target=work)
one.start()
one.join()
raise met[0]""",
    "fork": """\
import os, raw
child = os.fork()
if child == 0:
    try:
        raw.harm()
    finally:
        os._exit(7)
if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]):
    raw.harm()""",
    # No driver at all; where the database is a file, to any server.
    "socket": """\
import socket
socket.create_connection(("127.0.0.1", 5432), timeout=5)""",
    "child": """\
import os, subprocess, sys
subprocess.run([sys.executable, "-c", f"import sys; sys.path.insert(0, {ROOT!r}); "
    "import raw; raw.harm()"], check=True)""",
    "shell": """\
import os, sys
os.system(f"cd {ROOT} && {sys.executable} -c 'import raw; raw.harm()'")""",
    "spawn": """\
import os, sys
os.posix_spawn(sys.executable, [sys.executable, "-c", f"import sys; "
    f"sys.path.insert(0, {ROOT!r}); import raw; raw.harm()"], os.environ)
import time
time.sleep(2)""",
    "multiprocessing": """\
import multiprocessing, raw
context = multiprocessing.get_context("spawn")
process = context.Process(target=raw.harm)
process.start()
process.join()""",
}


# Of these it is of no matter which database they do not reach.
PROGRAMS = ("child", "shell", "spawn", "multiprocessing")


def sync_url(production: Production) -> str:
    """For an engine that a module makes and uses at once."""
    driver = {"postgresql": "postgresql+psycopg", "mysql": "mysql+pymysql", "sqlite": "sqlite"}
    made = make_url(production.url).set(drivername=driver[production.dialect])
    return made.render_as_string(hide_password=False)


def raw(production: Production) -> str:
    url = make_url(production.url)
    dsn = url.set(drivername="postgresql").render_as_string(hide_password=False)
    return RAW[production.dialect].format(
        url=sync_url(production),
        dsn=dsn,
        host=url.host,
        port=url.port,
        user=url.username,
        password=url.password,
        file=url.database,
    )


def project_of(
    root: Path,
    production: Production,
    *,
    models: str = "",
    upgrade: str | None = None,
    env: str = "",
    **files: str,
) -> Project:
    """A project with `models` at the head of its models, `upgrade` as its revision."""
    root.mkdir(exist_ok=True)
    head = f"ROOT = {str(root)!r}\n"
    made = {
        "requirements.txt": "",
        "main.py": "from fastapi import FastAPI\n\napp = FastAPI()\n",
        "raw.py": raw(production),
        "models.py": MODELS + (head + models if models else ""),
        "alembic.ini": "[alembic]\nscript_location = migrations\nprepend_sys_path = .\n"
        "path_separator = os\n",
        "migrations/env.py": env + ENV % {"url": sync_url(production)},
        "migrations/script.py.mako": "",
        "migrations/versions/.keep": "",
    }
    if upgrade is not None:
        lines = (head + upgrade).splitlines()
        made["migrations/versions/0001.py"] = REVISION % "\n".join(f"    {one}" for one in lines)
    write(root, made | {name.replace("__", "."): text for name, text in files.items()})
    return read_project(root)
