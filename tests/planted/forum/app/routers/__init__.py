"""The forum's routers."""
