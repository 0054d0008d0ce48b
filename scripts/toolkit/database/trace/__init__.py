"""What each statement of a running migration really did.

Runs inside the process that runs the project's env.py and is loaded there by path, so it
imports the standard library, SQLAlchemy and Alembic only, and itself by relative names.
`recorder.py` knows when a statement runs and whose it is; one reader a dialect asks the
database what it did.
"""
