"""MySQL and MariaDB: what one connection may ask, and what is wrong with the answers."""

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

CLOCK = "SELECT UNIX_TIMESTAMP(NOW(6))"
PID = "SELECT CONNECTION_ID() + 0 * :n /* test-connection */"
DATABASES = "SELECT schema_name FROM information_schema.schemata ORDER BY 1 LIMIT 500"

FACTS = """
SELECT VERSION() AS version, @@version_comment AS comment, CONNECTION_ID() AS pid,
  SUBSTRING_INDEX(CURRENT_USER(), '@', 1) AS role, CURRENT_USER() AS account,
  DATABASE() AS `database`, @@character_set_database AS encoding,
  @@collation_database AS collation, @@session.time_zone AS zone,
  @@system_time_zone AS system_zone,
  @@global.read_only AS read_only, @@session.sql_mode AS sql_mode,
  @@global.max_connections AS max_connections,
  @@session.max_user_connections AS role_limit,
  @@session.wait_timeout AS wait_timeout, @@session.lock_wait_timeout AS lock_wait_timeout,
  @@session.innodb_lock_wait_timeout AS innodb_lock_wait_timeout,
  (SELECT COUNT(*) FROM information_schema.processlist
    WHERE user = SUBSTRING_INDEX(CURRENT_USER(), '@', 1)) AS used_by_role
"""
RIGHTS = """
SELECT privilege_type FROM information_schema.user_privileges
UNION SELECT privilege_type FROM information_schema.schema_privileges
  WHERE DATABASE() LIKE table_schema
"""
TABLES = "SELECT COUNT(*) AS number FROM information_schema.tables WHERE table_schema = DATABASE()"
NEEDED = ("SELECT", "INSERT", "UPDATE", "DELETE")
SHORT_WAIT = 300  # seconds


async def read_facts(connection: "AsyncConnection") -> dict[str, Any]:
    facts = dict(await row(connection, FACTS))
    threads = (await connection.execute(text("SHOW GLOBAL STATUS LIKE 'Threads_connected'"))).one()
    facts["used"] = int(threads[1])
    facts["rights"] = {str(one) for one in await column(connection, RIGHTS)}
    facts["tables"] = (await row(connection, TABLES))["number"]
    if facts["zone"] == "SYSTEM":
        facts["zone"] = facts["system_zone"]
    return facts


def product(facts: Mapping[str, Any]) -> str:
    return "MariaDB" if "mariadb" in f"{facts['version']}{facts['comment']}".lower() else "MySQL"


def judge_server(facts: Mapping[str, Any], expected: Expected) -> Step:
    """Raises Broken."""
    name, version = product(facts), str(facts["version"]).partition("-")[0]
    verdicts: list[Verdict] = []
    ends = end_of_life(name, version)
    if ends is not None and ends < datetime.datetime.now(datetime.UTC).date():
        message = f"{name} {version} has had no repairs since {ends}."
        verdicts.append(Verdict(Status.WARNING, message, "Plan the step to a later release."))
    verdicts += wrong_encoding(facts)
    if not expected.zone_is_right(str(facts["zone"])):
        verdicts.append(
            Verdict(
                Status.BROKEN,
                f"The session's time zone is {facts['zone']}, not {expected.time_zone}: NOW(),"
                " CURDATE() and every TIMESTAMP read mean another moment than the application"
                " thinks.",
                f"SET GLOBAL time_zone = '+00:00', and default-time-zone in the server's file"
                f" (or --time-zone {facts['zone']} if it is meant).",
            )
        )
    if facts["read_only"] not in (0, "0", "OFF") and not expected.read_only:
        verdicts.append(
            Verdict(
                Status.BROKEN,
                "The server is read_only, as replicas are: every write fails.",
                "Write the primary's address (--read-only if a replica is meant).",
            )
        )
    if "STRICT" not in str(facts["sql_mode"]):
        verdicts.append(
            Verdict(
                Status.WARNING,
                "sql_mode is not strict: what does not fit a column is cut off without an error.",
                "SET GLOBAL sql_mode = CONCAT(@@sql_mode, ',STRICT_TRANS_TABLES')",
            )
        )
    words = f"{name} {version}, {facts['encoding']}, {facts['zone']}"
    return judged(
        Layer.SERVER,
        words,
        verdicts,
        [*([f"repaired until {ends}"] if ends else []), *([words] if verdicts else [])],
        version=version,
        product=name,
        encoding=facts["encoding"],
        time_zone=facts["zone"],
        sql_mode=facts["sql_mode"],
        end_of_life=str(ends) if ends else None,
    )


def wrong_encoding(facts: Mapping[str, Any]) -> list[Verdict]:
    encoding = str(facts["encoding"])
    if encoding == "utf8mb4" or facts["database"] is None:
        return []
    name = identifier(facts["database"], "mysql")
    remedy = f"ALTER DATABASE {name} CHARACTER SET utf8mb4 (new tables only)"
    if encoding in ("utf8", "utf8mb3"):
        message = f"New tables get {encoding}, which cannot store an emoji."
        return [Verdict(Status.WARNING, message, remedy)]
    message = f"New tables get {encoding}, which does not hold every text."
    return [Verdict(Status.BROKEN, message, remedy)]


async def judge_privileges(
    _connection: "AsyncConnection", facts: Mapping[str, Any], _version_table: str
) -> Step:
    """Rights by roles are not listed there, hence no more than a warning."""
    rights, verdicts = facts["rights"], list[Verdict]()
    lacking = [name for name in (*NEEDED, "CREATE", "ALTER") if name not in rights]
    if lacking:
        name, _, host = str(facts["account"]).rpartition("@")
        account = f"{literal(name, 'mysql')}@{literal(host, 'mysql')}"
        verdicts.append(
            Verdict(
                Status.WARNING,
                f"{facts['account']} has no {', '.join(lacking)} on the database as a whole.",
                f"GRANT {', '.join(lacking)} ON {identifier(facts['database'], 'mysql')}.*"
                f" TO {account}, unless a role or the tables give it.",
            )
        )
    return judged(
        Layer.PRIVILEGES,
        f"{', '.join(NEEDED)}, CREATE and ALTER",
        verdicts,
        [f"{facts['account']}, {facts['tables']} tables"],
        rights=sorted(rights),
    )


def room(facts: Mapping[str, Any]) -> Room:
    # One more than max_connections is let in, for an administrator: not counted.
    limits = [(int(facts["max_connections"]), int(facts["used"]), "max_connections")]
    if int(facts["role_limit"]):
        limits.append(
            (int(facts["role_limit"]), int(facts["used_by_role"]), "max_user_connections")
        )
    return Room(*min(limits, key=lambda one: one[0] - one[1]))


def judge_timeouts(facts: Mapping[str, Any], expected: Expected) -> Step:
    wait, recycle = int(facts["wait_timeout"]), expected.settings.pool_recycle
    shown = [
        f"{name} {facts[name]} s"
        for name in ("wait_timeout", "innodb_lock_wait_timeout", "lock_wait_timeout")
    ]
    verdicts: list[Verdict] = []
    if wait < SHORT_WAIT and not expected.settings.pre_ping and not 0 < recycle < wait:
        message = f"The server ends a connection that rests {wait} s; the pool keeps it longer."
        remedy = f"pool_recycle={max(1, wait // 2)}, or pool_pre_ping=True"
        verdicts.append(Verdict(Status.WARNING, message, remedy))
    return judged(
        Layer.TIMEOUTS,
        ", ".join(shown),
        verdicts,
        shown if verdicts else [],
        wait_timeout=wait,
    )
