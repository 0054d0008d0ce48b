"""The forum's services."""
