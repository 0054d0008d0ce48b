"""The doors on a Mac (bash 3.2, BSD's tools) and in Git Bash: nothing that only newer ones know.

By their text, since such a machine is rarely at hand. Run for real in November 2026: Apple's bash
3.2.57, built from its source, first on PATH, and the tests of the doors and of what they trust:
44 passed.
"""

import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.any_sqlalchemy

ROOT = Path(__file__).resolve().parents[2]
SHELL = [*sorted((ROOT / "scripts").glob("*.sh")), ROOT / ".ci" / "run"]

NEWER: dict[str, str] = {
    "bash 4": r"\b(mapfile|readarray|coproc)\b",
    "bash 4, associative arrays": r"\b(declare|local|typeset) -[a-z]*[Agn]\b",
    "bash 4, letters": r"\$\{\w+(\[[^]]*\])?(,,?|\^\^?)[^}]*\}",
    "bash 4.4, quoting": r"\$\{\w+@[A-Za-z]\}",
    "bash 4, both streams": r"&>>|\|&",
    "bash 4, falling through": r";;?&",
    "bash 4, globs": r"shopt -s (globstar|inherit_errexit|lastpipe)",
    "bash 4.2, is it set": r"\[\[? -v \w",
    "bash 4.2, from the end": r"\$\{\w+\[-\d|\$\{\w+: *\d*: *-\d",
    "bash 4.2, the time": r"printf [^\n]*%\(|\bEPOCHSECONDS\b|\bEPOCHREALTIME\b",
    "bash 4.3, names of names": r"\b(declare|local) -n\b",
    "bash 4.3, any child": r"\bwait -n\b",
    "GNU readlink, realpath": r"\breadlink -[a-z]*[fem]\b|\brealpath\b",
    "GNU sed": r"\bsed (-[a-z]* )*-[a-z]*[ir]\b",
    "GNU grep": r"\bgrep (-[a-z]* )*-[a-z]*P\b",
    "GNU date, stat": r"\bdate -d\b|\bstat (-c|--)|\bdate \+%N",
    "GNU find, xargs": r"-printf\b|\bxargs (-[a-z0-9]* )*-[a-z]*[rd]\b",
    "GNU ls, cp, mktemp": r"\b(ls|cp|ln|rm|mv|sort|head|tail) --[a-z]|\bmktemp --",
    "GNU programs": r"\b(tac|nproc|timeout|shuf|numfmt|gsed|getent)\b",
    # Git Bash emulates them by pipes, and a native Python cannot open one.
    "process substitution": r"[<>]\(",
    "Linux": r"/proc/|/dev/(fd|shm)\b",
}


def code_of(text: str) -> str:
    """Without comments."""
    return re.sub(r"(?m)(^|\s)#.*$", r"\1", text)


def found_in(text: str) -> list[str]:
    code = code_of(text)
    found = [
        f"{kind}: {match[0]}"
        for kind, pattern in NEWER.items()
        for match in re.finditer(pattern, code)
    ]
    # Before 4.4 an empty array is not set, and `set -u` ends the script at it.
    for name in set(re.findall(r"\$\{(\w+)\[@\]\}", code)):
        empty = re.search(rf"\b{name}=\(\)", code)
        if empty and not re.search(rf"\$\{{#{name}\[@\]\}} -gt 0", code):
            found.append(f"an empty array: {name}")
    return found


@pytest.mark.parametrize("path", SHELL, ids=lambda path: path.name)
def test_nothing_newer_than_bash_3_2_and_nothing_of_gnu_alone(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) > 4
    assert found_in(text) == []


@pytest.mark.parametrize(
    "line",
    [
        "mapfile -t lines < file",
        "declare -A seen",
        "local -n there=$1",
        'echo "${name,,}" "${name^}"',
        "run &>> log",
        "[[ -v NAME ]]",
        'echo "${list[-1]}"',
        "path=$(readlink -f x)",
        "sed -i s/a/b/ x",
        "grep -oP x y",
        "stat -c %u x",
        "ls --color x",
        "while read -r x; do :; done < <(ls)",
        "timeout 5 x",
        'list=(); run "${list[@]}"',
    ],
)
def test_what_is_newer_is_found(line: str) -> None:
    assert found_in(f"set -u\n{line}\n")
    assert not found_in(f"set -u\n# {line}\n")
