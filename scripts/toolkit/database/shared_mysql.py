"""Scratches on a MySQL or MariaDB server that holds other things as well.

A schema is another database here. The user that is made for the proof has rights on the
scratch only, so that it does not even see the others.
"""

# ruff: noqa: S608  (put together from names of our own)

import re

from sqlalchemy.engine import URL

from toolkit.database.folders import PREFIX
from toolkit.database.session import FAILURES, Session
from toolkit.database.shared_server import NotHere, Server, State, begun
from toolkit.database.urls import Kind

OURS = re.compile(rf"{PREFIX}[0-9a-f]{{16}}")
SYSTEM = "('mysql', 'sys', 'information_schema', 'performance_schema')"
DENIED = re.compile(r"\b(1044|1045|1227|1410|1396)\b|denied", re.IGNORECASE)
WHO = "SELECT CURRENT_USER()"
SIGNS = """
SELECT 'a replica is attached' FROM information_schema.processlist
    WHERE command LIKE 'Binlog Dump%'
UNION ALL SELECT 'other machines are connected' FROM information_schema.processlist
    WHERE SUBSTRING_INDEX(host, ':', 1) NOT IN ('localhost', '127.0.0.1', '::1', '', (
        SELECT SUBSTRING_INDEX(host, ':', 1) FROM information_schema.processlist
        WHERE id = CONNECTION_ID())) AND command <> 'Daemon'
"""
# Its own rights, beyond making and dropping scratches.
RIGHTS = f"""
SELECT privilege_type, '' FROM information_schema.user_privileges WHERE grantee = {{who}}
    AND privilege_type <> 'USAGE'
UNION ALL SELECT privilege_type, table_schema FROM information_schema.schema_privileges
    WHERE grantee = {{who}} AND REPLACE(table_schema, '\\\\', '') NOT LIKE '{PREFIX}%'
UNION ALL SELECT privilege_type, table_schema FROM information_schema.table_privileges
    WHERE grantee = {{who}}
"""
# A schema of ours has a user that was made for a scratch, or one that may only make scratches.
DATABASES = f"""
SELECT schema_name FROM information_schema.schemata s WHERE schema_name LIKE '{PREFIX}%'
    AND EXISTS (SELECT 1 FROM information_schema.schema_privileges p
        WHERE p.grantee LIKE '''{PREFIX}%'
            AND REPLACE(p.table_schema, '\\\\', '') = s.schema_name
        OR REPLACE(p.table_schema, '\\\\', '') = '{PREFIX}%')
UNION SELECT REPLACE(SUBSTRING_INDEX(grantee, '@', 1), '''', '')
    FROM information_schema.user_privileges WHERE grantee LIKE '''{PREFIX}%'
"""
STATE = (
    f"SELECT CONCAT('the schema ', schema_name), default_collation_name"
    f" FROM information_schema.schemata WHERE schema_name NOT LIKE '{PREFIX}%'",
    "SELECT CONCAT('the table ', table_schema, '.', table_name), CONCAT_WS(' ', table_type,"
    " engine, create_time, table_comment) FROM information_schema.tables"
    f" WHERE table_schema NOT IN {SYSTEM} AND table_schema NOT LIKE '{PREFIX}%'",
    "SELECT CONCAT('the right of ', grantee, ' to ', privilege_type), is_grantable"
    f" FROM information_schema.user_privileges WHERE grantee NOT LIKE '''{PREFIX}%'",
    "SELECT CONCAT('the right of ', grantee, ' to ', privilege_type, ' on ', table_schema),"
    f" is_grantable FROM information_schema.schema_privileges WHERE grantee NOT LIKE '''{PREFIX}%'",
    "SELECT CONCAT('the routine ', routine_schema, '.', routine_name), MD5(routine_definition)"
    f" FROM information_schema.routines WHERE routine_schema NOT LIKE '{PREFIX}%'",
)


class MySQLServer(Server):
    kind: Kind = "mysql"

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        user, _, self.host = str(session.run(WHO)[0][0]).rpartition("@")
        self.user = user
        self.makes_users = True

    def signs(self) -> list[str]:
        return list(dict.fromkeys(str(sign) for (sign,) in self.session.run(SIGNS)))

    def lock(self, name: str) -> None:
        self.session.run(f"SELECT GET_LOCK('{name}', 0)")

    def left_over(self) -> set[str]:
        names = {str(name) for (name,) in self.session.run(DATABASES)}
        return {name for name in names if OURS.fullmatch(name) and self.is_free(name)}

    def is_free(self, name: str) -> bool:
        return bool(self.session.run(f"SELECT IS_FREE_LOCK('{name}')")[0][0])

    def account(self, name: str) -> str:
        return f"'{name}'@'{self.host}'"

    def make_role(self, name: str, password: str) -> bool:
        try:
            self.session.run(f"CREATE USER {self.account(name)} IDENTIFIED BY '{password}'")
        except FAILURES as error:
            if not DENIED.search(str(error)):
                raise
        else:
            return True
        self.makes_users = False
        who = "'" + self.account(self.user).replace("'", "''") + "'"
        rights = self.session.run(RIGHTS.format(who=who))
        if rights:
            shown = ", ".join(f"{right} on {where or 'all'}" for right, where in rights[:3])
            raise NotHere(
                f"its user {self.user} may not make a user for the proof, and has rights that a"
                f" proof must not have: {shown}"
            )
        return False

    def make_database(self, name: str, role: str | None) -> None:
        self.session.run(f"CREATE DATABASE `{name}` CHARACTER SET utf8mb4")
        if role:
            escaped = name.replace("_", r"\_")
            self.session.run(f"GRANT ALL ON `{escaped}`.* TO {self.account(role)}")

    def dropping(self, name: str) -> list[str]:
        return [
            f"DROP DATABASE IF EXISTS `{name}`",
            *([f"DROP USER IF EXISTS {self.account(name)}"] if self.makes_users else []),
        ]

    def state(self) -> State:
        return {
            str(name): str(state)
            for statement in STATE
            for name, state in self.session.run(statement)
        }


def open_mysql(url: URL) -> MySQLServer:
    """A session in no database. Raises one of FAILURES."""
    return begun(MySQLServer, Session(url._replace(database=None)))
