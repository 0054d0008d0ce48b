"""A plan of EXPLAIN (FORMAT JSON) as a tree for people, and what is wrong in it."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from toolkit.queries.plans.bench import Symptom
from toolkit.queries.plans.measure import Node

# Names in double quotes stay; strings and numbers are values.
VALUES = re.compile(
    r"""(?P<keep> "(?:[^"]|"")*" | \$\d+
          | ::(?:\w+|\ (?:precision|varying|with|without|time|zone)\b)+(?:\(\d+(?:,\d+)?\))? )
        | [EB]?'(?:[^'\\]|''|\\.)*'
        | (?<![\w$])-?\d+(?:\.\d+)?(?:e[+-]?\d+)?""",
    re.X,
)
CONDITIONS = ("Index Cond", "Hash Cond", "Merge Cond", "Recheck Cond", "Join Filter", "Filter")
WASTE_ROWS = 10_000
WASTE_SHARE = 0.9
ROWS_OFF = 100
ROWS_OFF_LEAST = 500
OFFSET_ROWS = 1000
PAGE = 8192
WIDE_BYTES = 1000
WIDE_ROWS = 100
LEAN_COST = 100.0
"""In the planner's units (a page read in order is 1): about two dozen rows by an index."""
TINY_COST = 20.0
"""Less than to read a thousand rows, below which no index is tried."""
# `(email)::text` on a varchar is no cast that an index minds.
CAST = re.compile(r"\((\"(?:[^\"]|\"\")*\"|[a-z_]\w*)\)::(?!text\b|bpchar\b)([a-z][\w ]*)")
EQUAL = re.compile(r"(?<!\w)\(+(\"(?:[^\"]|\"\")*\"|[a-z_]\w*)\)?(?:::[\w ]+)? = ")
Plan = Mapping[str, Any]


def redacted(text: str) -> str:
    """A condition without its values."""
    return VALUES.sub(lambda match: match["keep"] or "?", text)


def tree(plan: Plan) -> Node:
    """The tree with own times and pages."""
    children = [part for part in plan.get("Plans", ())]
    loops = max(float(plan.get("Actual Loops", 1)), 1.0)
    ms = None
    if "Actual Total Time" in plan:
        inner = sum(
            part.get("Actual Total Time", 0.0) * max(part.get("Actual Loops", 1), 1)
            for part in children
        )
        ms = max(plan["Actual Total Time"] * loops - inner, 0.0)
    pages = None
    if "Shared Hit Blocks" in plan:
        pages = max(buffers(plan) - sum(buffers(part) for part in children), 0)
    rows = plan.get("Actual Rows")
    return Node(
        label=label(plan),
        rows=None if rows is None else rows * loops,
        estimated=float(plan.get("Plan Rows", 0)) * loops,
        ms=ms,
        cost=plan.get("Total Cost"),
        buffers=pages,
        notes=tuple(notes(plan, loops)),
        children=tuple(tree(part) for part in children),
    )


def buffers(plan: Plan) -> int:
    """Pages that were read from memory or disk, with those of the children."""
    names = ("Shared Hit Blocks", "Shared Read Blocks", "Temp Read Blocks", "Temp Written Blocks")
    return sum(int(plan.get(name, 0)) for name in names)


def label(plan: Plan) -> str:
    words = [str(plan.get("Node Type", "?"))]
    if plan.get("Parent Relationship") in ("InitPlan", "SubPlan"):
        words.insert(0, f"{plan.get('Subplan Name', 'SubPlan')}:")
    if plan.get("Join Type") not in (None, "Inner"):
        words.append(str(plan["Join Type"]).lower())
    if plan.get("Scan Direction") == "Backward":
        words.append("backward")
    if "Index Name" in plan:
        words.append(f"using {plan['Index Name']}")
    if "Relation Name" in plan:
        words.append(f"on {plan['Relation Name']}")
    alias = plan.get("Alias")
    if alias and alias != plan.get("Relation Name"):
        words.append(str(alias))
    return " ".join(words)


def notes(plan: Plan, loops: float) -> Iterator[str]:
    for name in CONDITIONS:
        if name in plan:
            yield f"{name.lower()} {redacted(str(plan[name]))}"
    if "Sort Key" in plan:
        yield f"by {redacted(', '.join(plan['Sort Key']))}"
    if loops > 1:
        yield f"{loops:,.0f} times"
    for name in ("Rows Removed by Filter", "Rows Removed by Join Filter"):
        if plan.get(name):
            yield f"removed {plan[name] * loops:,.0f} rows by {name.split(' by ')[1].lower()}"
    if plan.get("Rows Removed by Index Recheck"):
        yield f"removed {plan['Rows Removed by Index Recheck'] * loops:,.0f} rows by recheck"
    if plan.get("Sort Space Type") == "Disk":
        yield f"sorted on disk, {plan['Sort Space Used']:,} kB"
    if plan.get("Hash Batches", 1) > 1:
        yield f"hashed in {plan['Hash Batches']} batches on disk"
    if plan.get("Heap Fetches"):
        yield f"{plan['Heap Fetches']:,} rows looked up in the table"


def nodes(plan: Plan) -> Iterator[Plan]:
    yield plan
    for part in plan.get("Plans", ()):
        yield from nodes(part)


def to_spare(plan: Plan) -> float:
    """The planner's cost of what may be unnecessary: sorts, rows filtered out, long rows sent."""
    return sorted_and_filtered(plan) + float(plan["Plan Width"] * plan["Plan Rows"]) / PAGE


def sorted_and_filtered(plan: Plan) -> float:
    if "Sort" in str(plan.get("Node Type")) or "Filter" in plan:
        return float(plan["Total Cost"])
    return sum(sorted_and_filtered(part) for part in plan.get("Plans", ()))


def is_lean(plan: Plan) -> bool:
    """Is there nothing to win? Rows found by indexes alone and few of them, or a tiny table."""
    every = list(nodes(plan))
    # Of all nodes: LIMIT makes the cost of the root a guess about where rows lie.
    cost = max(float(node["Total Cost"]) for node in every)
    return cost < TINY_COST or (cost < LEAN_COST and not any(map(has_to_spare, every)))


def has_to_spare(node: Plan) -> bool:
    kind = str(node.get("Node Type"))
    by_index = "Index" in kind and "Index Cond" in node
    reads = kind.endswith("Scan") and kind not in ("Bitmap Heap Scan", "Subquery Scan")
    return "Sort" in kind or "Filter" in node or (reads and not by_index)


def relations(plan: Plan) -> set[tuple[str, str]]:
    """Schema and name of the tables that are read (EXPLAIN VERBOSE)."""
    return {
        (str(node.get("Schema", "")), str(node["Relation Name"]))
        for node in nodes(plan)
        if "Relation Name" in node
    }


def symptoms(plan: Plan) -> Iterator[Symptom]:
    """What costs in a plan that was run."""
    yield from wide_rows(plan)
    for node in nodes(plan):
        loops = max(float(node.get("Actual Loops", 1)), 1.0)
        table = node.get("Relation Name")
        yield from scans(node, loops, table)
        yield from spills(node)
        yield from offsets(node)
        yield from misestimates(node, table)


def scans(node: Plan, loops: float, table: str | None) -> Iterator[Symptom]:
    removed = float(node.get("Rows Removed by Filter", 0)) * loops
    kept = float(node.get("Actual Rows", 0)) * loops
    whole = node.get("Node Type") == "Seq Scan" or (
        # An index may be read from end to end in place of its table.
        str(node.get("Node Type")).startswith("Index") and "Index Cond" not in node
    )
    if not whole or removed < WASTE_ROWS:
        return
    if removed < WASTE_SHARE * (removed + kept):
        return
    condition = redacted(str(node.get("Filter", "")))
    evidence = (f"{label(node)}: {removed:,.0f} rows read and thrown away, {kept:,.0f} kept"
                f" ({condition})",)  # fmt: skip
    casts = tuple(dict.fromkeys(match[1].strip('"') for match in CAST.finditer(condition)))
    yield Symptom(
        "full-scan",
        f"Reads {removed + kept:,.0f} rows of {table} to keep {kept:,.0f}.",
        evidence,
        table,
        casts,
        removed,
    )


def spills(node: Plan) -> Iterator[Symptom]:
    if node.get("Sort Space Type") == "Disk":
        yield Symptom(
            "sort-spills",
            f"A sort does not fit into work_mem and takes {node['Sort Space Used']:,} kB on disk.",
            (f"{label(node)}: {node.get('Sort Method')}, {node['Sort Space Used']:,} kB on disk",),
        )
    batches = node.get("Hash Batches", node.get("HashAgg Batches", 1))
    if batches and batches > 1:
        used = node.get("Disk Usage", 0)
        size = f", {used:,} kB" if used else ""
        yield Symptom(
            "hash-spills",
            f"A hash table does not fit into work_mem and is written to disk{size}.",
            (f"{label(node)}: {batches} batches{size}",),
        )


def offsets(node: Plan) -> Iterator[Symptom]:
    """LIMIT takes its OFFSET rows as well, and throws them away."""
    if node.get("Node Type") != "Limit" or not node.get("Plans"):
        return
    kept, read = float(node.get("Actual Rows", 0)), float(node["Plans"][0].get("Actual Rows", 0))
    if read - kept >= OFFSET_ROWS and read - kept >= 10 * kept:
        yield Symptom(
            "deep-offset",
            f"OFFSET reads {read - kept:,.0f} rows and throws them away to return {kept:,.0f}.",
            (f"{label(node['Plans'][0])} gave {read:,.0f} rows, the first {read - kept:,.0f} of"
             " them for nothing",),
        )  # fmt: skip


def wide_rows(root: Plan) -> Iterator[Symptom]:
    """Many long rows go to the client: whether it needs every column, the plan can't know."""
    width, rows = int(root.get("Plan Width", 0)), float(root.get("Actual Rows", 0))
    if width >= WIDE_BYTES and rows >= WIDE_ROWS:
        yield Symptom(
            "wide-rows",
            f"Fetches {rows:,.0f} rows of about {width:,} bytes: {width * rows / 1024:,.0f} kB.",
            (f"{label(root)}: {rows:,.0f} rows, width {width:,}",),
        )


def misestimates(node: Plan, table: str | None) -> Iterator[Symptom]:
    """Only rows that came and were not expected: a LIMIT above ends scans early as well."""
    actual, planned = float(node.get("Actual Rows", 0)), max(float(node.get("Plan Rows", 1)), 1.0)
    condition = str(node.get("Index Cond") or node.get("Filter") or node.get("Recheck Cond") or "")
    if table is None or actual < ROWS_OFF_LEAST or actual < ROWS_OFF * planned or not condition:
        return
    columns = EQUAL.findall(condition)
    yield Symptom(
        "misestimate",
        f"The planner expects {planned:,.0f} rows of {table} and gets {actual:,.0f}.",
        (f"{label(node)}: {redacted(condition)}",),
        table,
        tuple(dict.fromkeys(name.strip('"') for name in columns)),
        actual,
    )
