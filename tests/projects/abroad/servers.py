"""Scratch databases for strangers' projects: plain names, so that a URL that is put together
without quoting is right.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from servers.mysql import running_mysql
from servers.postgres import running_postgres

PERSON = "app"


@dataclass(frozen=True)
class Database:
    """One that is empty, and nobody else's."""

    kind: str
    host: str
    port: str
    database: str
    user: str = PERSON
    password: str = PERSON

    @property
    def is_server(self) -> bool:
        return self.kind != "sqlite"

    @property
    def asynchronous(self) -> str:
        schemes = {"postgresql": "postgresql+asyncpg", "mysql": "mysql+aiomysql"}
        return schemes.get(self.kind, "sqlite+aiosqlite")

    def url(self, scheme: str) -> str:
        if not self.is_server:
            return f"{scheme}:///{self.database}"
        return f"{scheme}://{self.user}:{self.password}@{self.host}:{self.port}/{self.database}"

    def fill(self, text: str) -> str:
        for name in ("host", "port", "user", "password", "database"):
            text = text.replace("{" + name + "}", getattr(self, name))
        return text


class Servers:
    """Started when the first project asks for one."""

    def __init__(self, stack: ExitStack, scratch: Path) -> None:
        self._stack, self._scratch, self._made = stack, scratch, 0
        self._running: dict[str, tuple[str, str]] = {}

    def database(self, kind: str) -> Database:
        self._made += 1
        name = f"abroad_{self._made}"
        if kind == "sqlite":
            return Database("sqlite", "", "", str(self._scratch / f"{name}.sqlite"))
        if kind == "mysql":
            self._mysql(name)
        else:
            self._postgresql(name)
        host, port = self._running[kind]
        return Database(kind, host, port, name)

    def _postgresql(self, name: str) -> None:
        if "postgresql" not in self._running:
            self.postgres = self._stack.enter_context(running_postgres())
            self.postgres.execute(f"CREATE ROLE {PERSON} SUPERUSER LOGIN PASSWORD '{PERSON}'")
            self._running["postgresql"] = (self.postgres.host, str(self.postgres.port))
        self.postgres.create_database(name)

    def _mysql(self, name: str) -> None:
        if "mysql" not in self._running:
            self.mysql = self._stack.enter_context(running_mysql())
            self.mysql.execute(f"CREATE USER {PERSON}@'%' IDENTIFIED BY '{PERSON}'")
            self.mysql.execute(f"GRANT ALL ON *.* TO {PERSON}@'%'")
            self._running["mysql"] = (self.mysql.host, str(self.mysql.port))
        self.mysql.create_database(name)


@contextmanager
def servers(scratch: Path) -> Iterator[Servers]:
    with ExitStack() as stack:
        yield Servers(stack, scratch)
