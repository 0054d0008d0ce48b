"""The steps of a deploy in words and as JSON, and the answers that they need."""

import argparse
import re
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from toolkit.migration.expand_contract.planning import Answers
from toolkit.migration.expanding import Expanded, Step
from toolkit.migration.refusal import Refusal
from toolkit.migration.situation import shown
from toolkit.report.exits import Exit
from toolkit.report.finding import Finding
from toolkit.report.masking import in_a_line
from toolkit.report.text import as_data

ANSWER = re.compile(r"(?P<place>[^=\s]+\.[^=\s]+)\s*=\s*(?P<sql>\S.*)", re.DOTALL)


def read_answers(options: argparse.Namespace) -> Answers:
    """From --fill, --using and --back. Raises Refusal for another form."""
    return Answers(
        read("fill", options.fill), read("using", options.using), read("back", options.back)
    )


def read(option: str, words: Iterable[str]) -> dict[str, str]:
    answers: dict[str, str] = {}
    for word in words:
        found = ANSWER.fullmatch(word.strip())
        if found is None or found["place"] in answers:
            raise Refusal(
                "options",
                Exit.USAGE,
                f"--{option} {word} is not understood, or there twice.",
                f"Write --{option} table.column=SQL (schema.table.column=SQL).",
            )
        answers[found["place"]] = found["sql"].strip()
    return answers


def new_code(steps: Sequence[Step]) -> list[str]:
    """What must run everywhere between the two halves."""
    return list(dict.fromkeys(step.deploy for step in steps if step.deploy))


def steps_as_document(expanded: Expanded, findings: Sequence[Finding]) -> dict[str, Any]:
    before, after = expanded.commands
    return {
        "status": "created",
        "exit": 0,
        "files": [
            {
                "file": str(step.path),
                "revision": step.revision,
                "down_revision": step.parent,
                "title": step.title,
                "deploy_first": step.deploy,
            }
            for step in expanded.steps
        ],
        "deploy": {"first": before, "then": new_code(expanded.steps), "last": after},
        "findings": [as_data(one) for one in findings],
        "warnings": list(expanded.warnings),
        "scratch": expanded.scratch,
    }


def steps_as_text(expanded: Expanded) -> str:
    return "\n".join(lines(expanded))


def lines(expanded: Expanded) -> Iterator[str]:
    before, after = expanded.commands
    number = len(expanded.steps)
    yield f"Created {number} revision{'s' * (number != 1)}, to be run in this order."
    if before:
        yield f"\nWhile the service is as it is:  {before}"
        yield from listed([step for step in expanded.steps if step.deploy is None])
    if after:
        yield "\nThen deploy, and wait until nothing else runs:"
        for words in new_code(expanded.steps):
            yield textwrap.fill(
                words,
                96,
                initial_indent="  - ",
                subsequent_indent="    ",
                break_long_words=False,
                break_on_hyphens=False,
            )
        yield f"\nAfter that:  {after}"
        yield from listed([step for step in expanded.steps if step.deploy is not None])
    yield f"\nProved on {expanded.scratch}: each upgrade, downgrade, upgrade."


def listed(steps: Iterable[Step]) -> Iterator[str]:
    for step in steps:
        yield in_a_line(f"  {shown(step.path, Path.cwd())}")
        yield in_a_line(f"      {step.title}")
