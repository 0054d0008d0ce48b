"""What the bash entry points in `scripts/` run: read a project, set it up, migrate it."""
