"""Results as text for people and JSON for agents. Knows nothing of databases."""
