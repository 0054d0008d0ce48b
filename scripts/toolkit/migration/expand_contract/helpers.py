"""Functions that a written revision carries with it, by database and name."""

PATIENTLY = '''
def patiently(change: Callable[[], object]) -> None:
    """In short tries: whatever waits for a lock makes every later query wait behind it."""
    for left in reversed(range(100)):
        try:
            change()
            return
        except DBAPIError as error:
            if not left or not gave_up(error):
                raise
        time.sleep(0.5)


def gave_up(error: DBAPIError) -> bool:
    """Was it the limit on waiting for a lock?"""
'''
POSTGRESQL_GAVE_UP = """    names = ("sqlstate", "pgcode")  # as the drivers call it
    return any(getattr(error.orig, name, None) == "55P03" for name in names)
"""
MYSQL_GAVE_UP = """    return bool(error.orig and error.orig.args[0] == 1205)
"""
LOCK = '''
def lock(mode: str, *tables: str) -> None:
    """Take the tables until the end of this transaction."""
    op.execute("SET LOCAL lock_timeout = '500ms'")
    statement = f"LOCK TABLE {', '.join(tables)} IN {mode} MODE"
    if op.get_context().as_sql:
        op.execute(statement)
        return

    def attempt() -> None:
        with op.get_bind().begin_nested():
            op.execute(statement)

    patiently(attempt)
'''
FILL = '''
def fill() -> None:
    """In batches, each a transaction of its own; a killed run goes on where it was."""
    context = op.get_context()
    if context.as_sql:
        op.execute(FILL)
        return
    with context.autocommit_block():
        op.execute("{short_waits}")
        connection = op.get_bind()
        some = sa.select(*KEY).where(MISSING).order_by(*KEY).limit(BATCH)
        keys = connection.execute(some).all()
        while keys:
            batch = FILL.where(sa.tuple_(*KEY).in_([tuple(key) for key in keys]))
            patiently(lambda batch=batch: connection.execute(batch))
            logger.info("rows up to %s", tuple(keys[-1]))
            time.sleep(PAUSE)
            keys = connection.execute(some.where(sa.tuple_(*KEY) > tuple(keys[-1]))).all()
        op.execute("{waits_as_before}")
'''
HELPERS = {
    ("postgresql", "patiently"): (PATIENTLY + POSTGRESQL_GAVE_UP).strip(),
    ("postgresql", "lock"): LOCK.strip(),
    ("postgresql", "fill"): FILL.format(
        short_waits="SET lock_timeout = '500ms'", waits_as_before="SET lock_timeout = '4s'"
    ).strip(),
    ("mysql", "patiently"): (
        PATIENTLY.replace(
            "    for left in",
            '    op.execute("SET SESSION lock_wait_timeout = 1")\n    for left in',
        )
        + MYSQL_GAVE_UP
    ).strip(),
    ("mysql", "fill"): FILL.format(
        short_waits="SET SESSION innodb_lock_wait_timeout = 1",
        waits_as_before="SET SESSION innodb_lock_wait_timeout = DEFAULT",
    ).strip(),
    ("sqlite", "fill"): '''
def fill() -> None:
    """SQLite has one writer at a time and all of env.py's transaction: all or nothing."""
    op.execute(FILL)
'''.strip(),
}
