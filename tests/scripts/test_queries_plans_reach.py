"""An index is measured on each database, however small: with each SQLAlchemy (#10)."""

from sqlalchemy import make_url, text

from projects import plans_capture as capture
from toolkit.queries.plans import measure_statements


def test_an_index_is_found_on_each_database(database_url: str) -> None:
    """Twice as quick with it than without is what has to be felt: it is a thousand times."""
    numbers = "SELECT 1 AS i" + "".join(f" UNION ALL SELECT {i}" for i in range(2, 161))
    capture.script(
        database_url,
        "CREATE TABLE notes (id int PRIMARY KEY, topic int NOT NULL, pad varchar(200) NOT NULL)",
        f"INSERT INTO notes SELECT a.i * 1000 + b.i, a.i * b.i, '{'x' * 150}'"
        f" FROM ({numbers}) a, ({numbers}) b",
    )
    asked = [("topic", text("SELECT id FROM notes WHERE topic = :t").bindparams(t=25281))]
    report = measure_statements(make_url(database_url), capture.captured(database_url, asked))
    assert report.skipped is None
    assert capture.indexes(report) == {"ix_notes_topic": ("topic",)}
    [found] = report.findings
    assert found.function == "topic" and found.fix is not None
    assert "notes (topic)" in found.fix.text
