"""A result as one page of HTML that needs no network, no server and, to read it, no script."""

from toolkit.queries.report.html.page import as_html

__all__ = ["as_html"]
