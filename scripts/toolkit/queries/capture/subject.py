"""What a statement is about and who sends it, in the words that its author uses."""

from dataclasses import dataclass

from toolkit.queries.capture.record import Statement
from toolkit.queries.capture.shape import table_of


@dataclass(frozen=True)
class Subject:
    """A mapped class, or where the statement names none a table of SQLAlchemy Core."""

    name: str
    """`Post`; of a table `posts`."""
    mapped: bool
    table: str
    sender: str
    """`session` or `connection`."""

    def column(self, name: str) -> str:
        return f"{self.name}.{name}" if self.mapped else f"{self.name}.c.{name}"

    def rows(self, query: str) -> str:
        """The expression that runs `query` and gives its objects or rows."""
        method = "scalars" if self.mapped and self.sender == "session" else "execute"
        return f"await {self.sender}.{method}({query})"


def subject_of(one: Statement) -> Subject:
    table = table_of(one.shape) or "table"
    # A unit of work's INSERT is the session's, whoever began the transaction.
    sender = "session" if one.in_session or one.origin or one.flush else "connection"
    return Subject(one.entity or table.rpartition(".")[2], bool(one.entity), table, sender)
