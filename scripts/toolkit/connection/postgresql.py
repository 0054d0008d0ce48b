"""PostgreSQL: what one connection may ask, and what is wrong with the answers."""

import datetime
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from toolkit.connection.connecting import column, row
from toolkit.connection.end_of_life import end_of_life
from toolkit.connection.expected import Expected, Room
from toolkit.connection.steps import Layer, Status, Step, Verdict, judged
from toolkit.report.quoting import identifier, literal

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

CLOCK = "SELECT extract(epoch FROM clock_timestamp())"
PID = "SELECT pg_backend_pid() + 0 * CAST(:n AS integer) /* test-connection */"
STUCK_SECONDS = 10

FACTS = f"""
SELECT current_setting('server_version') AS version,
  pg_is_in_recovery() AS in_recovery,
  current_setting('default_transaction_read_only') = 'on' AS read_only,
  current_setting('server_encoding') AS encoding,
  current_setting('TimeZone') AS zone,
  current_database() AS database, CAST(current_user AS text) AS role,
  current_schema() AS schema, current_setting('search_path') AS search_path,
  pg_backend_pid() AS pid, clock_timestamp() AS seen_at,
  r.rolsuper AS super, r.rolcreatedb AS createdb,
  r.rolconnlimit AS role_limit, d.datconnlimit AS database_limit,
  has_database_privilege(current_database(), 'CONNECT') AS may_connect,
  has_schema_privilege(current_schema(), 'USAGE') AS may_use,
  has_schema_privilege(current_schema(), 'CREATE') AS may_create,
  CAST(current_setting('max_connections') AS integer) AS max_connections,
  CAST(current_setting('superuser_reserved_connections') AS integer) AS reserved_super,
  CAST(coalesce(current_setting('reserved_connections', true), '0') AS integer) AS reserved,
  (SELECT CAST(coalesce(sum(numbackends), 0) AS integer) FROM pg_stat_database) AS used,
  (SELECT CAST(count(*) AS integer) FROM pg_stat_activity
    WHERE usesysid = r.oid) AS used_by_role,
  (SELECT CAST(count(*) AS integer) FROM pg_stat_activity
    WHERE datid = d.oid) AS used_in_database,
  (SELECT CAST(count(*) AS integer) FROM pg_stat_activity
    WHERE usesysid = r.oid AND state LIKE 'idle in transaction%'
    AND state_change < now() - interval '{STUCK_SECONDS} seconds') AS stuck
FROM pg_roles r, pg_database d
WHERE r.rolname = current_user AND d.datname = current_database()
"""  # noqa: S608  (a constant of this file)

# In milliseconds. What the session began with: our own SET LOCAL is not meant.
TIMEOUTS = """
SELECT name, CAST(reset_val AS bigint) FROM pg_settings WHERE name IN (
  'statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout',
  'idle_session_timeout')
"""
TABLES = """
SELECT c.relname AS name, has_table_privilege(c.oid, 'SELECT') AS readable
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = CAST(:schema AS text) AND c.relkind IN ('r', 'p') ORDER BY c.relname LIMIT 500
"""
SCHEMAS = """
SELECT nspname FROM pg_namespace
WHERE nspname = ANY(string_to_array(CAST(:names AS text), ','))
"""
DATABASES = "SELECT datname FROM pg_database WHERE NOT datistemplate ORDER BY datname LIMIT 500"


async def read_facts(connection: "AsyncConnection") -> dict[str, Any]:
    facts = dict(await row(connection, FACTS))
    for name, milliseconds in await connection.execute(text(TIMEOUTS)):
        facts[str(name)] = int(milliseconds)
    return facts


def judge_server(facts: Mapping[str, Any], expected: Expected) -> Step:
    """Raises Broken."""
    version, verdicts = str(facts["version"]), list[Verdict]()
    ends = end_of_life("PostgreSQL", version)
    if ends is not None and ends < datetime.datetime.now(datetime.UTC).date():
        message = f"PostgreSQL {version} has had no repairs since {ends}."
        verdicts.append(Verdict(Status.WARNING, message, "Plan pg_upgrade to a later release."))
    if facts["encoding"] != "UTF8":
        verdicts.append(wrong_encoding(str(facts["encoding"])))
    if not expected.zone_is_right(str(facts["zone"])):
        verdicts.append(wrong_zone(facts, expected))
    if not expected.read_only:
        verdicts += cannot_write(facts)
    state = "a standby" if facts["in_recovery"] else "read and write"
    words = f"PostgreSQL {version}, {facts['encoding']}, {facts['zone']}, {state}"
    evidence = [f"repaired until {ends}"] if ends else []
    return judged(
        Layer.SERVER,
        words,
        verdicts,
        [*evidence, *([words] if verdicts else [])],
        version=version,
        encoding=facts["encoding"],
        time_zone=facts["zone"],
        in_recovery=facts["in_recovery"],
        read_only=facts["read_only"],
        end_of_life=str(ends) if ends else None,
    )


def wrong_encoding(encoding: str) -> Verdict:
    return Verdict(
        Status.BROKEN,
        f"The database stores {encoding}, which does not hold every text"
        + (" and is not even checked." if encoding == "SQL_ASCII" else "."),
        "CREATE DATABASE ... ENCODING 'UTF8' TEMPLATE template0, and move the data there.",
    )


def wrong_zone(facts: Mapping[str, Any], expected: Expected) -> Verdict:
    return Verdict(
        Status.BROKEN,
        f"The session's time zone is {facts['zone']}, not {expected.time_zone}: CURRENT_DATE,"
        " date_trunc and every timestamp without zone mean another moment than the application"
        " thinks.",
        f"ALTER ROLE {identifier(facts['role'])} SET timezone = {literal(expected.time_zone)}"
        f" (or --time-zone {facts['zone']} if it is meant).",
    )


def cannot_write(facts: Mapping[str, Any]) -> list[Verdict]:
    if facts["in_recovery"]:
        return [
            Verdict(
                Status.BROKEN,
                "The server is a standby (in recovery): every write fails.",
                "Write the primary's address, or target_session_attrs=read-write"
                " (--read-only if a replica is meant).",
            )
        ]
    if facts["read_only"]:
        return [
            Verdict(
                Status.BROKEN,
                "Transactions are read-only here (default_transaction_read_only): every write"
                " fails.",
                f"ALTER ROLE {identifier(facts['role'])} RESET default_transaction_read_only, or"
                " ALTER SYSTEM / DATABASE, wherever it was set (--read-only if it is meant).",
            )
        ]
    return []


async def judge_privileges(
    connection: "AsyncConnection", facts: Mapping[str, Any], version_table: str
) -> Step:
    """Raises Broken."""
    role, schema = facts["role"], facts["schema"]
    verdicts: list[Verdict] = []
    evidence = [f"role {role}: CREATEDB {'yes' if facts['createdb'] or facts['super'] else 'no'}"]
    if facts["super"]:
        evidence.append("a superuser; an application needs none of that")
    if schema is None:
        verdicts.append(await no_schema(connection, facts))
    else:
        verdicts += await tables_of(connection, facts, version_table, evidence)
        if not facts["may_create"]:
            verdicts.append(
                Verdict(
                    Status.WARNING,
                    f"{role} may not create tables in the schema {schema}, as migrations do.",
                    f"GRANT CREATE ON SCHEMA {identifier(schema)} TO {identifier(role)}, or"
                    " migrate as another role.",
                )
            )
    return judged(
        Layer.PRIVILEGES,
        f"CONNECT, USAGE and CREATE on {schema}",
        verdicts,
        evidence,
        schema=schema,
        createdb=facts["createdb"],
        superuser=facts["super"],
        create=bool(facts["may_create"]),
    )


async def no_schema(connection: "AsyncConnection", facts: Mapping[str, Any]) -> Verdict:
    path = str(facts["search_path"]).replace('"$user"', str(facts["role"]))
    names = [name.strip().strip('"') for name in path.split(",")]
    there = await column(connection, SCHEMAS, names=",".join(names))
    if there:
        return Verdict(
            Status.BROKEN,
            f"{facts['role']} may not use the schema {there[0]}: it sees no table.",
            f"GRANT USAGE ON SCHEMA {identifier(there[0])} TO {identifier(facts['role'])}",
        )
    return Verdict(
        Status.BROKEN,
        f"No schema of search_path ({facts['search_path']}) exists.",
        f"CREATE SCHEMA {identifier(names[-1])}, or correct search_path.",
    )


async def tables_of(
    connection: "AsyncConnection",
    facts: Mapping[str, Any],
    version_table: str,
    evidence: list[str],
) -> list[Verdict]:
    tables: list[tuple[str, bool]] = [
        (str(one[0]), bool(one[1]))
        for one in await connection.execute(text(TABLES), {"schema": facts["schema"]})
    ]
    closed = [name for name, readable in tables if not readable]
    evidence.append(f"{len(tables)} tables, {len(tables) - len(closed)} of them readable")
    if not closed:
        return []
    role, schema = facts["role"], facts["schema"]
    remedy = (
        "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA"
        f" {identifier(schema)} TO {identifier(role)}"
    )
    if version_table in closed:
        message = f"{role} may not read {version_table}: neither Alembic nor a health check can."
        return [Verdict(Status.BROKEN, message, remedy)]
    if len(closed) == len(tables):
        return [Verdict(Status.BROKEN, f"{role} may read no table of {schema}.", remedy)]
    names = ", ".join(closed[:3]) + (", ..." if len(closed) > 3 else "")
    message = f"{role} may not read {len(closed)} of {len(tables)} tables: {names}."
    return [Verdict(Status.WARNING, message, remedy)]


def room(facts: Mapping[str, Any]) -> Room:
    kept = 0 if facts["super"] else facts["reserved_super"] + facts["reserved"]
    limits = [(facts["max_connections"] - kept, facts["used"], "max_connections less reserved")]
    if facts["role_limit"] >= 0 and not facts["super"]:
        limits.append((facts["role_limit"], facts["used_by_role"], f"{facts['role']}'s limit"))
    if facts["database_limit"] >= 0 and not facts["super"]:
        limits.append((facts["database_limit"], facts["used_in_database"], "the database's limit"))
    limit, used, words = min(limits, key=lambda one: one[0] - one[1])
    return Room(limit, used, words, facts["stuck"])


def judge_timeouts(facts: Mapping[str, Any], expected: Expected) -> Step:
    timeouts = {name: int(facts.get(name) or 0) for name in TIMEOUT_NAMES}
    shown = [f"{name} {f'{value} ms' if value else 'none'}" for name, value in timeouts.items()]
    verdicts: list[Verdict] = []
    idle, recycle = timeouts["idle_session_timeout"], expected.settings.pool_recycle
    if idle and not expected.settings.pre_ping and not 0 < recycle * 1000 < idle:
        message = f"The server ends a connection that rests {idle} ms; the pool keeps it longer."
        remedy = f"pool_recycle={max(1, idle // 2000)}, or pool_pre_ping=True"
        verdicts.append(Verdict(Status.WARNING, message, remedy))
    if 0 < timeouts["statement_timeout"] < 100:
        message = f"statement_timeout is {timeouts['statement_timeout']} ms."
        verdicts.append(Verdict(Status.WARNING, message, "Was that meant to be seconds?"))
    fine = ", ".join(shown)
    return judged(Layer.TIMEOUTS, fine, verdicts, shown if verdicts else [], **timeouts)


TIMEOUT_NAMES = (
    "statement_timeout",
    "lock_timeout",
    "idle_in_transaction_session_timeout",
    "idle_session_timeout",
)
