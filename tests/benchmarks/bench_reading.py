"""What the scripts need for a large project until they have read it.

    python tests/benchmarks/bench_reading.py [FILES ...]

Makes projects of 100, 300 and 1,000 files with 200 lines each (tests/projects/large.py), and
prints processor seconds of the whole script: the first time, and again with what is in the cache
folder. test-connection.sh is given a database that is not there, so all it does comes before the
first packet. For comparison: parsing every file once, and walking over what comes of it.

Exit code 1 when 1,000 files cost more than the aims: 4, 3 and 8 seconds.
"""

import ast
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests")]

from projects.large import write_project  # noqa: E402

LARGEST = 1000
AIMS = {"setup-alembic.sh --dry-run": 4.0, "test-connection.sh": 3.0, "optimize-queries.sh": 8.0}


def main(sizes: list[int]) -> int:
    print(f"{'files':>6} {'lines':>8} {'parse':>6}  {'script':<28} {'first':>6} {'again':>6}  aim")
    late = False
    with tempfile.TemporaryDirectory() as place:
        for size in sizes:
            project = Path(place) / str(size)
            write_project(project, size)
            sources = [path.read_text(encoding="utf-8") for path in project.glob("app/**/*.py")]
            lines, parsing = sum(text.count("\n") for text in sources), parse_all(sources)
            for number, (script, aim) in enumerate(AIMS.items()):
                cache = Path(place) / f"cache-{size}-{number}"
                cache.mkdir()
                first, again = (seconds_of(script, project, cache) for _ in range(2))
                print(
                    f"{size:6} {lines:8,} {parsing:6.1f}  {script:<28} {first:6.1f} {again:6.1f}"
                    f"  {aim:.0f}",
                    flush=True,
                )
                late = late or (size >= LARGEST and first > aim)
    return int(late)


def parse_all(sources: list[str]) -> float:
    began = time.process_time()
    for text in sources:
        for _ in ast.walk(ast.parse(text)):
            pass
    return time.process_time() - began


def seconds_of(script: str, project: Path, cache: Path) -> float:
    """Processor seconds of a script and all that it starts."""
    name, *options = script.split()
    variables = {
        **{key: os.environ[key] for key in ("PATH", "HOME", "LANG") if key in os.environ},
        "VIRTUAL_ENV": sys.prefix,
        "DATABASE_URL": "sqlite+aiosqlite:///none.db",
        "XDG_CACHE_HOME": str(cache),
    }
    before = used()
    command = ["bash", str(ROOT / "scripts" / name), *options]
    ended = subprocess.run(command, cwd=project, env=variables, capture_output=True, check=False)
    if b"internal error" in ended.stderr:
        raise SystemExit(ended.stderr.decode())
    return used() - before


def used() -> float:
    facts = resource.getrusage(resource.RUSAGE_CHILDREN)
    return facts.ru_utime + facts.ru_stime


if __name__ == "__main__":
    sys.exit(main([int(one) for one in sys.argv[1:]] or [100, 300, LARGEST]))
