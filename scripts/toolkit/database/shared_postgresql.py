"""Scratches on a PostgreSQL server that holds other things as well."""

# ruff: noqa: S608  (put together from names of our own)

from sqlalchemy.engine import URL

from toolkit.database.folders import PREFIX
from toolkit.database.private_rights import POSTGRES_EXTENSION
from toolkit.database.session import FAILURES, Session, execute
from toolkit.database.shared_server import NotHere, Server, State, begun
from toolkit.database.urls import Kind

# What the role may do beyond a scratch: the server's rights, other roles', other databases.
FACTS = f"""
SELECT r.rolsuper, r.rolcreaterole, r.rolcreatedb, pg_is_in_recovery(),
    concat_ws(', ', CASE WHEN r.rolreplication THEN 'replication' END,
        CASE WHEN r.rolbypassrls THEN 'bypass of row security' END,
        (SELECT 'is a member of ' || string_agg(m.roleid::regrole::text, ', ')
            FROM pg_auth_members m WHERE m.member = r.oid),
        (SELECT 'owns ' || string_agg(datname, ', ') FROM pg_database
            WHERE datdba = r.oid AND NOT starts_with(datname, '{PREFIX}')))
FROM pg_roles r WHERE r.rolname = current_user
"""
# A session of another machine is told by its address, which others than ours may not see.
SIGNS = """
SELECT CASE WHEN EXISTS (SELECT FROM pg_stat_replication) THEN 'a standby is attached' END
UNION ALL SELECT 'there is a replication slot' FROM pg_replication_slots
UNION ALL SELECT 'its log is archived' WHERE current_setting('archive_mode') <> 'off'
UNION ALL SELECT 'other machines are connected' WHERE EXISTS (SELECT FROM pg_stat_activity
    WHERE client_addr IS DISTINCT FROM inet_client_addr() AND host(client_addr) <> '127.0.0.1'
        AND host(client_addr) <> '::1' AND datname IS NOT NULL)
"""
# Locked is what a session holds; which database it is in does not matter.
LOCKED = """
SELECT lpad(to_hex((classid::bigint << 32) | objid::bigint), 16, '0') FROM pg_locks
WHERE locktype = 'advisory' AND objsubid = 1
"""
# A database of ours belongs to a role that was made for a scratch, or to the one that asks.
LEFT_OVER = f"""
SELECT datname FROM pg_database d
WHERE datname ~ '^{PREFIX}[0-9a-f]{{16}}$'
    AND (pg_get_userbyid(datdba) = current_user
        OR pg_get_userbyid(datdba) ~ '^{PREFIX}[0-9a-f]{{16}}$')
    AND substr(datname, {len(PREFIX) + 1}) NOT IN ({LOCKED})
UNION SELECT rolname FROM pg_roles
WHERE rolname ~ '^{PREFIX}[0-9a-f]{{16}}$' AND substr(rolname, {len(PREFIX) + 1}) NOT IN ({LOCKED})
"""
# pg_authid has the passwords, and a superuser only reads it.
STATE = f"""
SELECT 'the database ' || datname, concat_ws(' ', oid, datdba, datacl::text, datconnlimit,
    datallowconn) FROM pg_database WHERE NOT starts_with(datname, '{PREFIX}')
UNION ALL SELECT 'the role ' || rolname, md5(to_jsonb(r)::text) FROM %s r
    WHERE NOT starts_with(rolname, '{PREFIX}')
UNION ALL SELECT 'the membership of ' || member::regrole || ' in ' || roleid::regrole,
    admin_option::text FROM pg_auth_members
    WHERE NOT starts_with(roleid::regrole::text, '{PREFIX}')
UNION ALL SELECT 'the settings of ' || CASE setrole WHEN 0 THEN 'all' ELSE setrole::regrole::text
    END || coalesce(' in ' || datname, ''), setconfig::text
    FROM pg_db_role_setting LEFT JOIN pg_database d ON d.oid = setdatabase
UNION ALL SELECT 'the tablespace ' || spcname, concat_ws(' ', oid, spcowner) FROM pg_tablespace
UNION ALL SELECT 'the replication slot ' || slot_name, slot_type FROM pg_replication_slots
UNION ALL SELECT 'the setting ' || name, setting FROM pg_settings
    WHERE context <> 'internal' AND source NOT IN ('client', 'session', 'database', 'user')
UNION ALL SELECT 'the relation ' || c.oid::regclass, concat_ws(' ', relkind, relowner)
    FROM pg_class c WHERE relnamespace::regnamespace::text !~ '^pg_'
"""


class PostgresServer(Server):
    kind: Kind = "postgresql"

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        (facts,) = session.run(FACTS)
        self.superuser, self.makes_roles, self.makes_databases = facts[:3]
        self.rights = str(facts[4])
        self.on_demand = ("extensions",) if self.superuser else ()
        if facts[3]:
            raise NotHere("it is a standby, on which nothing can be made")

    def signs(self) -> list[str]:
        return list(dict.fromkeys(str(sign) for (sign,) in self.session.run(SIGNS) if sign))

    def lock(self, name: str) -> None:
        self.session.run(f"SELECT pg_advisory_lock(x'{name.removeprefix(PREFIX)}'::bigint)")

    def left_over(self) -> set[str]:
        return {str(name) for (name,) in self.session.run(LEFT_OVER)}

    def make_role(self, name: str, password: str) -> bool:
        if self.superuser or self.makes_roles:
            self.session.run(
                f"CREATE ROLE \"{name}\" LOGIN CONNECTION LIMIT 40 PASSWORD '{password}'"
            )
            if not self.superuser:
                self.session.run(f'GRANT "{name}" TO CURRENT_USER')
            return True
        if self.rights:
            raise NotHere(
                f"its role {self.session.url.username} may not make a role for the proof, and has"
                f" rights that a proof must not have: {self.rights}"
            )
        return False

    def make_database(self, name: str, role: str | None) -> None:
        owner = f' OWNER "{role}"' if role else ""
        self.session.run(f'CREATE DATABASE "{name}"{owner}')
        self.session.run(f'REVOKE CONNECT, TEMPORARY ON DATABASE "{name}" FROM PUBLIC')
        if self.superuser:
            execute(self.session.url.set(database=name), POSTGRES_EXTENSION)

    def dropping(self, name: str) -> list[str]:
        role = [f'DROP ROLE IF EXISTS "{name}"'] if self.superuser or self.makes_roles else []
        return [
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            f" WHERE datname = '{name}' AND pid <> pg_backend_pid()",
            f'DROP DATABASE IF EXISTS "{name}"',
            *role,
        ]

    def state(self) -> State:
        statement = STATE % ("pg_authid" if self.superuser else "pg_roles")
        return {str(name): str(state) for name, state in self.session.run(statement)}


def open_postgres(url: URL) -> PostgresServer:
    """A session in a database that exists: the project's own may not yet. Raises FAILURES."""
    failed: BaseException | None = None
    for database in dict.fromkeys((url.database or "postgres", "postgres", "template1")):
        try:
            session = Session(url.set(database=database))
        except FAILURES as error:
            failed = failed or error
            if "does not exist" not in str(error):
                break
        else:
            return begun(PostgresServer, session)
    assert failed is not None
    raise failed
