"""What the role of a proof may do on a server that is ours, and how it gets what it lacks.

It is no superuser: one could have the server run programs and read files. What plain Alembic
could do on the project's own server, and what harms nobody on an empty one, it gets through
functions of the administrator, which `on_demand.py` calls in the process of the proof:

- extensions that only a superuser may create, but none that leads out of the server
- roles and schemas that a fresh server lacks and that migrations take for granted
"""

# ruff: noqa: S608  (put together from constants of this file)

EXTENSION = "alembic_scratch_extension"
ROLES = "alembic_scratch_roles"
SCHEMA = "alembic_scratch_tools.need_schema"

# Those that reach other servers, files or programs. A language that is not trusted ends in u.
REACHES_OUT = (
    "(dblink|.*fdw|.*_?http|pg_net|pg_cron|adminpack|plsh|pl[a-z0-9]*u|plproxy|multicorn"
    "|pg_background)"
)

POSTGRES_EXTENSION = rf"""
CREATE FUNCTION pg_catalog.{EXTENSION}(name text, within text, version text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    caller regrole := session_user::regrole;
BEGIN
    IF name ~ '^{REACHES_OUT}$' THEN
        RAISE EXCEPTION 'the extension % reaches out of the server, so a proof can not have it',
            name USING ERRCODE = 'insufficient_privilege';
    END IF;
    IF EXISTS (SELECT FROM pg_extension WHERE extname = name) OR EXISTS (
        SELECT FROM pg_available_extensions a JOIN pg_available_extension_versions v
            ON v.name = a.name AND v.version = coalesce($3, a.default_version)
            WHERE a.name = $1 AND v.trusted)
    THEN
        RETURN false;  -- the role can do it itself
    END IF;
    IF EXISTS (SELECT FROM pg_available_extension_versions v
        WHERE v.name = $1 AND v.schema IS NOT NULL)
    THEN
        within := NULL;  -- it has a schema of its own
    END IF;
    EXECUTE format('CREATE EXTENSION %I', name)
        || coalesce(' SCHEMA ' || quote_ident(within), '')
        || coalesce(' VERSION ' || quote_literal(version), '') || ' CASCADE';
    UPDATE pg_extension SET extowner = caller WHERE extname = name;
    RETURN true;
END $$
"""
POSTGRES_ROLES = rf"""
CREATE FUNCTION pg_catalog.{ROLES}(names text[], owners boolean) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    name text;
BEGIN
    -- A superuser may give a table to a role that may make none in its schema. To all, since
    -- a role that has rights somewhere can't be dropped.
    FOR name IN SELECT nspname FROM pg_namespace
        WHERE owners AND nspname !~ '^pg_' AND nspname <> 'information_schema'
    LOOP
        EXECUTE format('GRANT CREATE ON SCHEMA %I TO PUBLIC', name);
    END LOOP;
    FOREACH name IN ARRAY names LOOP
        IF name !~ '^pg_' AND name <> 'public'
            AND NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name)
        THEN
            EXECUTE format('CREATE ROLE %I', name);
            EXECUTE format('GRANT %I TO %I WITH ADMIN OPTION', name, session_user);
        END IF;
    END LOOP;
END $$
"""
# Before version 16, who may make roles may grant himself each that is no superuser's: also
# those of which the members have the server run programs and read files.
POSTGRES_BEFORE_16 = r"""
UPDATE pg_catalog.pg_authid SET rolsuper = true
WHERE rolname ~ '^pg_' AND current_setting('server_version_num')::int < 160000
"""
POSTGRES_PARAMETER = """
DO $$ BEGIN
    IF current_setting('server_version_num')::int >= 150000 THEN
        GRANT SET ON PARAMETER session_replication_role TO {role};
    END IF;
END $$
"""
POSTGRES_GRANT_BACK = """
DO $$ BEGIN
    IF current_setting('server_version_num')::int >= 160000 THEN
        ALTER ROLE {role} SET createrole_self_grant = 'set, inherit';
    END IF;
END $$
"""


def postgres_private(role: str) -> list[str]:
    """Statements for the template of the databases on a new server."""
    return [
        f"CREATE ROLE {role} LOGIN CREATEDB CREATEROLE",
        POSTGRES_BEFORE_16,
        POSTGRES_PARAMETER.format(role=role),
        POSTGRES_GRANT_BACK.format(role=role),
        POSTGRES_EXTENSION,
        POSTGRES_ROLES,
    ]


def mysql_private(role: str, database: str) -> list[str]:
    """Statements for the first start of a new server, each in one line."""
    system = "'mysql', 'sys', 'information_schema', 'performance_schema', 'alembic_scratch_tools'"
    body = (
        f"IF LOWER(wanted) IN ({system}) THEN"
        " SIGNAL SQLSTATE '42000' SET MESSAGE_TEXT = 'the schema belongs to the server'; END IF;"
        " IF make THEN SET @a = CONCAT('CREATE DATABASE IF NOT EXISTS `',"
        " REPLACE(wanted, '`', '``'), '`'); PREPARE p FROM @a; EXECUTE p; DEALLOCATE PREPARE p;"
        " END IF; SET @a = CONCAT('GRANT ALL ON `',"
        r" REPLACE(REPLACE(REPLACE(wanted, '`', '``'), '_', '\\_'), '%', '\\%'), '`.* TO ',"
        f" '{role}@localhost WITH GRANT OPTION'); PREPARE p FROM @a; EXECUTE p;"
        " DEALLOCATE PREPARE p; SET @a = NULL;"
    )
    return [
        f"CREATE USER {role}@localhost",
        *mysql_database(role, database),
        "CREATE DATABASE alembic_scratch_tools",
        f"CREATE DEFINER = root@localhost PROCEDURE {SCHEMA}(wanted varchar(64), make boolean)"
        f" SQL SECURITY DEFINER MODIFIES SQL DATA BEGIN {body} END",
        f"GRANT EXECUTE ON PROCEDURE {SCHEMA} TO {role}@localhost",
    ]


def mysql_database(role: str, database: str) -> list[str]:
    escaped = database.replace("_", r"\_")
    return [
        f"CREATE DATABASE `{database}` CHARACTER SET utf8mb4",
        f"GRANT ALL ON `{escaped}`.* TO {role}@localhost WITH GRANT OPTION",
    ]
