"""Where migrations are tried: a scratch database and a folder outside of the project."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from toolkit.database.alembic_process import AlembicResult, run_alembic
from toolkit.database.catalog import Catalog
from toolkit.database.catalog.reading import read_catalog_at
from toolkit.database.lacking import lacking
from toolkit.database.places import server_name
from toolkit.database.scratch import Scratch, Wish, open_scratch, own_folder
from toolkit.database.urls import TITLES
from toolkit.migration.refusal import Refusal
from toolkit.migration.situation import Situation, shown
from toolkit.project.facts import MappedClass, Project
from toolkit.report.endings import proof_code
from toolkit.report.exits import Exit


@dataclass(frozen=True)
class Bench:
    """One project, one scratch database, and a folder for what is not proved yet."""

    project: Project
    situation: Situation
    scratch: Scratch
    folder: Path
    timeout: float
    dialects: tuple[str, ...] = ()
    """The databases for which revisions are written, as SQLAlchemy names them; (): as env.py
    says."""

    @property
    def place(self) -> str:
        """The scratch database in words."""
        return f"{TITLES[self.scratch.kind]} {self.scratch.origin}"

    def alembic(self, *args: str, **extra: Any) -> AlembicResult:  # noqa: ANN401
        """Run one Alembic command of the project on the scratch database."""
        return run_alembic(
            self.project,
            args,
            self.scratch,
            ini=self.situation.setup.ini,
            extra={"version_location": str(self.folder), **extra},
            environment=self.situation.environment,
            timeout=self.timeout,
        )

    def autogenerate(
        self,
        message: str,
        mapped: Sequence[MappedClass] = (),
        **extra: Any,  # noqa: ANN401
    ) -> AlembicResult:
        """Compare the models with the scratch database, and write what differs into `folder`.

        The report says which classes of `mapped` the metadata does not have.
        """
        head = self.situation.head
        return self.alembic(
            "revision",
            "--autogenerate",
            "-m",
            message,
            action="autogenerate",
            message=message,
            head=head["revision"] if head and self.situation.branches else "head",
            mapped=[described(one) for one in mapped],
            dialects=self.dialects,
            **extra,
        )

    def schema(self) -> Catalog:
        """What the scratch database is now."""
        return read_catalog_at(self.scratch.url)

    def lacking(self, result: AlembicResult, *, sure: bool = False) -> str | None:
        """What to do if it failed for want of something that is not on the scratch's server."""
        server = self.situation.server
        own = server_name(server, self.situation.kind) if server else None
        return lacking(result.message, self.scratch, own, sure=sure)

    def refuse_place(self, result: AlembicResult, what: str) -> None:
        """Raise Refusal where it says nothing about a revision that it does not run here."""
        if result.error and (remedy := self.lacking(result, sure=True)):
            raise Refusal("place", Exit.PROOF_FAILED, f"{what}: {result.message}", remedy)

    def expect(self, result: AlembicResult, what: str, remedy: str) -> None:
        """Raise Refusal unless `result` is a success."""
        if result.error:
            place = result.error.get("where")
            raise Refusal(
                "proof",
                proof_code(result.message),
                f"{what}: {result.message}",
                self.lacking(result) or remedy,
                [f"at {shown(place, self.project.root)}"] if place else (),
            )


def described(mapped: MappedClass) -> dict[str, str | None]:
    """A class as the process that runs Alembic is told of it."""
    return {
        "name": mapped.name,
        "module": mapped.module,
        "table": mapped.table,
        "metadata": mapped.metadata,
    }


@contextlib.contextmanager
def open_bench(
    project: Project, situation: Situation, timeout: float, *, beside: bool = False
) -> Iterator[Bench]:
    """Make both, and remove both on the way out. Raises DatabaseError.

    `beside`: it is not the database that env.py connects to, for which a server may be named.
    """
    wish = Wish(project.scratch_on, project.scratch_remembered, project.root)
    wish = Wish(root=project.root, beside=True) if beside else wish
    with (
        open_scratch(situation.kind, server_url=situation.server, wish=wish) as scratch,
        own_folder() as place,
    ):
        folder = place / "versions"
        folder.mkdir()
        yield Bench(project, situation, scratch, folder, timeout)


@contextlib.contextmanager
def open_second(bench: Bench) -> Iterator[Bench]:
    """Another empty database, on the server of the first."""
    with bench.scratch.another() as url:
        yield replace(bench, scratch=replace(bench.scratch, url=url))
