"""What was measured, as findings with their evidence and their DDL."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from toolkit.database.sizes import in_units
from toolkit.database.urls import Kind
from toolkit.queries.capture.record import Statement
from toolkit.queries.finding import Confidence, Fix, Index, Layer, QueryFinding
from toolkit.queries.plans.bench import Sample, walk
from toolkit.queries.plans.measure import Measured, Timing
from toolkit.queries.plans.model import create_index, for_mysql
from toolkit.queries.plans.search import Outcome, Verdict
from toolkit.report.text import counted

Ratios = Mapping[Index, float | None]
"""Time of an INSERT with the index by the time without."""
SHOWN = 5
"""Places that one finding names."""


def timing(sample: Sample) -> Timing:
    return Timing(sample.ms, sample.buffers, sample.plan)


def measured(verdict: Verdict, kind: Kind, ratios: Ratios) -> list[Measured]:
    """The statement with each of its indexes, or without any."""
    worst = verdict.shape.worst
    frame = worst.frames[0] if worst.frames else None
    base = Measured(
        verdict.shape.text,
        frame.file if frame else None,
        frame.line if frame else None,
        verdict.shape.unit,
        timing(verdict.before),
    )
    if not verdict.chosen:
        return [base]
    found = []
    for outcome in verdict.chosen:
        for index, built in zip(outcome.indexes, outcome.built, strict=True):
            found.append(
                replace(
                    base,
                    before=timing(outcome.before),
                    after=timing(outcome.after),
                    index=index,
                    ddl=ddl(index, kind),
                    size_bytes=built.size_bytes,
                    build_ms=built.build_ms,
                    write_ratio=ratios.get(index),
                    estimated_cost=outcome.cost,
                )
            )
    return found


def ddl(index: Index, kind: Kind) -> str:
    text = create_index(for_mysql(index) if kind == "mysql" else index, kind, concurrently=True)
    if "gin_trgm_ops" in text:
        return f"CREATE EXTENSION IF NOT EXISTS pg_trgm;\n{text};"
    return f"{text};"


@dataclass(frozen=True)
class Facts:
    """What the evidence needs beside the statement's own."""

    kind: Kind
    rows: Mapping[str, str]
    """Words about each table."""
    ratios: Ratios
    work_unit: str


def index_findings(verdicts: Sequence[Verdict], facts: Facts) -> Iterator[QueryFinding]:
    """One for each index, with all statements that it serves."""
    served: dict[Index, list[tuple[Verdict, Outcome]]] = {}
    for verdict in verdicts:
        for outcome in verdict.chosen:
            for index in outcome.indexes:
                served.setdefault(index, []).append((verdict, outcome))
    for index, users in served.items():
        users.sort(key=lambda pair: -saved(pair))
        yield index_finding(index, users, facts)


def useless(verdict: Verdict, outcome: Outcome, index: Index) -> Iterator[str]:
    """Indexes of a column that is only compared inside of an expression."""
    candidate = outcome.trial[outcome.indexes.index(index)]
    table = next(one for one in verdict.tables.values() if one.place == candidate.place)
    for key in candidate.keys:
        for there in table.indexes:
            name = there.keys[0]
            if not key.column and re.search(rf"\b{re.escape(name)}\b", key.sql):
                yield f"{there.name} is on {name} itself and can't serve {key.sql}"


def superfluous(verdict: Verdict, outcome: Outcome, index: Index) -> Iterator[str]:
    """Indexes that are the beginning of this one."""
    candidate = outcome.trial[outcome.indexes.index(index)]
    table = next(one for one in verdict.tables.values() if one.place == candidate.place)
    keys = tuple(key.text for key in candidate.keys)
    for there in table.indexes:
        alike = (there.method, there.where) == (candidate.method, candidate.where)
        held = set(there.include) <= {*keys, *candidate.include}
        begins = held and there.keys == keys[: len(there.keys)] and not candidate.keys[0].opclass
        if alike and begins and not there.unique:
            yield f"it begins with the keys of {there.name}, which may be superfluous then"


def saved(pair: tuple[Verdict, Outcome]) -> float:
    verdict, outcome = pair
    return verdict.shape.executions * (outcome.before.ms - outcome.after.ms)


def index_finding(
    index: Index, users: Sequence[tuple[Verdict, Outcome]], facts: Facts
) -> QueryFinding:
    verdict, outcome = users[0]
    write_ratio = facts.ratios.get(index)
    built = outcome.built[outcome.indexes.index(index)]
    words = f"{number(outcome.before)} become {number(outcome.after)}"
    message = f"An index on {index.table} ({', '.join(index.expressions)})"
    if index.include:
        message += f" including {', '.join(index.include)}"
    if index.where:
        message += f" where {index.where}"
    message += f" makes this statement {factor(outcome)} times faster: {words}."
    evidence = [before_after(outcome, facts.work_unit)]
    evidence += [f"without: {line}" for line in hot(outcome.before)]
    evidence += [f"with: {line}" for line in hot(outcome.after)]
    cost = [
        f"{in_units(built.size_bytes)}" if built.size_bytes else "",
        f"built in {built.build_ms:,.0f} ms",
    ]
    if write_ratio is not None:
        cost.append(f"INSERTs take {write_ratio:.2f} times as long")
    evidence.append(f"the index: {', '.join(filter(None, cost))}")
    if outcome.cost:
        evidence.append(
            f"the planner's cost with HypoPG: {outcome.cost[0]:,.0f} to {outcome.cost[1]:,.0f}"
        )
    if len(outcome.indexes) > 1:
        names = ", ".join(one.name for one in outcome.indexes if one != index)
        evidence.append(f"only together with {names}")
    evidence += useless(verdict, outcome, index)
    evidence += superfluous(verdict, outcome, index)
    if index.table in facts.rows:
        evidence.append(f"{index.table}: {facts.rows[index.table]}")
    for other, result in users[1:]:
        place = ", ".join(other.shape.places[:1]) or "elsewhere"
        evidence.append(
            f"serves {place} as well: {number(result.before)} to {number(result.after)}"
        )
    finding = base("missing-index", verdict, message, evidence)
    fix = Fix("ddl", ddl(index, facts.kind), index)
    return replace(
        finding, table=index.table, fix=fix, cost_ms=outcome.before.ms - outcome.after.ms
    )


def number(sample: Sample) -> str:
    text = f"{sample.ms:,.0f} ms" if sample.ms >= 100 else f"{sample.ms:.3g} ms"
    return f"more than {text}" if sample.slow else text


def factor(outcome: Outcome) -> str:
    return f"{outcome.before.ms / max(outcome.after.ms, 0.001):,.0f}"


def before_after(outcome: Outcome, work_unit: str) -> str:
    words = f"before {number(outcome.before)}, after {number(outcome.after)}"
    if not outcome.before.slow:
        words += f"; {outcome.before.work:,.0f} {work_unit} before, {outcome.after.work:,.0f} after"
    return words


def hot(sample: Sample) -> list[str]:
    """The node that takes most of the time; all nodes where the database tells no times."""
    nodes = list(walk(sample.plan))
    timed = [node for node in nodes if node.ms is not None]
    if not timed:
        return ["; ".join("; ".join([node.label, *node.notes[:1]]) for node in nodes[1:])]
    worst = max(timed, key=lambda node: node.ms or 0.0)
    return ["; ".join([worst.label, *worst.notes[:3]])]


def base(rule: str, verdict: Verdict, message: str, evidence: Iterable[str]) -> QueryFinding:
    """With the place and the statement."""
    worst: Statement = verdict.shape.worst
    frame = worst.frames[0] if worst.frames else None
    lines = list(evidence)
    if len(verdict.shape.places) > 1:
        more = verdict.shape.places[:SHOWN]
        lines.append(f"issued at {', '.join(more)}")
    times = verdict.shape.executions
    lines.append(f"{counted(times, 'execution')} {'was' if times == 1 else 'were'} captured")
    return QueryFinding(
        rule=rule,
        layer=Layer.PLANS,
        confidence=Confidence.MEASURED,
        message=message,
        evidence=tuple(lines),
        file=frame.file if frame else None,
        line=frame.line if frame else None,
        function=frame.function if frame else None,
        unit=verdict.shape.unit,
        shape=verdict.shape.text,
        cost_ms=verdict.before.ms,
    )
