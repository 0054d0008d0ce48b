"""The forum's repositories."""
