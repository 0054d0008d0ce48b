"""Scratch databases, and Alembic commands that can reach nothing else."""
