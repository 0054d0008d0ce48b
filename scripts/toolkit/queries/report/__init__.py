"""A result as text, JSON, SARIF and one page of HTML."""
