"""Plans on PostgreSQL."""
