"""One SELECT, UPDATE or DELETE of a parsed statement: what it asks of each of its tables."""

# ruff: noqa: ANN401  (sqlglot may be missing: its objects have no types here)

from collections.abc import Iterator, Mapping
from typing import Any

from toolkit.queries.plans.model import Place, Table, quoted
from toolkit.queries.plans.parse import DIALECTS, Parsed, slot_of
from toolkit.queries.plans.usage import Constant, Order, Term, Use

CATEGORIES = 30
"""Values that a column may have at most to be called a state, whose name is no secret."""


def uses_of(
    parsed: Parsed,
    tables: Mapping[Place, Table],
    fixed: frozenset[int],
    *,
    same_text: bool = True,
) -> list[Use]:
    """What each part of the statement asks of each of `tables` (keys as it writes them).

    `fixed` are the positions of parameters that never change; `same_text`: neither do the
    literals in the text.
    """
    kinds = (parsed.exp.Select, parsed.exp.Update, parsed.exp.Delete)
    found: list[Use] = []
    for node in [one for one in parsed.tree.walk() if isinstance(one, kinds)]:
        found += Scope(parsed, node, tables, fixed, same_text).uses()
    return found


class Scope:
    """One SELECT, UPDATE or DELETE with the tables in its FROM."""

    def __init__(
        self,
        parsed: Parsed,
        node: Any,
        tables: Mapping[Place, Table],
        fixed: frozenset[int],
        same_text: bool,
    ) -> None:
        self.parsed, self.node, self.exp = parsed, node, parsed.exp
        self.fixed, self.same_text = fixed, same_text
        self.tables: dict[str, Table] = {}
        self.found: dict[str, Use] = {}
        for source in self.sources():
            if not isinstance(source, self.exp.Table):
                continue
            place = Place(parsed.name(source.args.get("db")), parsed.name(source.this))
            alias = source.args.get("alias")
            name = parsed.name(alias.this) if alias else place.name
            if place in tables:
                self.tables[name] = tables[place]
                self.found[name] = Use(place.schema, place.name)

    def sources(self) -> Iterator[Any]:
        """The items of FROM and JOIN, and the table that is written to."""
        arguments = self.node.args
        if not isinstance(self.node, self.exp.Select):
            yield self.node.this
        start = arguments.get("from_") or arguments.get("from")
        if start is not None:
            yield start.this
            for join in start.this.args.get("joins") or ():
                yield join.this
        using = arguments.get("using")
        yield from using if isinstance(using, list) else ()
        for join in arguments.get("joins") or ():
            yield join.this

    def uses(self) -> list[Use]:
        if not self.found:
            return []
        where = self.node.args.get("where")
        conditions = [where.this] if where is not None else []
        conditions += [
            join.args["on"]
            for join in self.node.find_all(self.exp.Join)
            if join.args.get("on") is not None and join.find_ancestor(type(self.node)) is self.node
        ]
        for condition in conditions:
            for part in self.flat(condition, self.exp.And):
                self.judge(part, self.found)
        self.read_order()
        self.read_groups()
        self.read_needed()
        return list(self.found.values())

    def flat(self, node: Any, kind: Any) -> Iterator[Any]:
        """The sides of nested ANDs (or ORs)."""
        while isinstance(node, self.exp.Paren):
            node = node.this
        if isinstance(node, kind):
            yield from self.flat(node.this, kind)
            yield from self.flat(node.expression, kind)
        else:
            yield node

    # --- Conditions

    def judge(self, part: Any, into: dict[str, Use]) -> None:
        """Note what one condition asks."""
        exp = self.exp
        if isinstance(part, exp.Escape):
            part = part.this
        if isinstance(part, exp.Or):
            self.judge_or(part, into)
        elif isinstance(part, (exp.Like, exp.ILike)):
            self.judge_like(part, into)
        elif isinstance(part, exp.In):
            self.add(part.this, "many", [*part.expressions, part.args.get("query")], into, part)
        elif isinstance(part, exp.Between):
            self.add(part.this, "ranges", [part.args["low"], part.args["high"]], into, part)
        elif isinstance(part, exp.EQ) and isinstance(part.expression, exp.Any):
            self.add(part.this, "many", [part.expression], into, part)
        elif isinstance(part, (exp.EQ, exp.Is, exp.NullSafeEQ)):
            self.add(part.this, "equal", [part.expression], into, part)
            self.add(part.expression, "equal", [part.this], into, part)
        elif isinstance(part, (exp.GT, exp.GTE, exp.LT, exp.LTE)):
            self.add(part.this, "ranges", [part.expression], into, part)
            self.add(part.expression, "ranges", [part.this], into, part)
        elif isinstance(part, (exp.Not, exp.NEQ)):
            inner = part.this
            self.constant(part, into)
            if isinstance(inner, exp.Column) and isinstance(part, exp.Not):
                self.add(inner, "equal", [], into, part)
        elif isinstance(part, exp.Column):
            self.add(part, "equal", [], into, part)

    def add(self, side: Any, how: str, others: list[Any], into: dict[str, Use], part: Any) -> None:
        """Note that `side` is compared with `others`, if an index could hold it."""
        alias, term = self.term(side)
        if term is None or alias not in into:
            return
        others = [other for other in others if other is not None]
        owners = {self.owner(column) for other in others for column in self.columns(other)}
        if alias in owners:
            return
        subquery = any(other.find(self.exp.Select) is not None for other in others)
        if how in ("equal", "many") and (subquery or owners):
            how = "joined"
        terms: list[Term] = getattr(into[alias], how)
        if term not in terms:
            terms.append(term)
        if how != "joined":
            self.constant(part, into)

    def judge_or(self, part: Any, into: dict[str, Use]) -> None:
        """A condition on one column is a list of values; on several, each needs an index."""
        sides = list(self.flat(part, self.exp.Or))
        owners = {self.owner(column) for side in sides for column in self.columns(side)}
        alias = owners.pop() if len(owners) == 1 else ""
        if not alias or alias not in into or part.find(self.exp.Select) is not None:
            return
        found = []
        for side in sides:
            use = Use(into[alias].schema, into[alias].name)
            for inner in self.flat(side, self.exp.And):
                self.judge(inner, {alias: use})
            found.append(use)
        terms = {tuple(use.equal) for use in found}
        only = terms.pop() if len(terms) == 1 else ()
        if len(only) == 1 and not any(use.ranges or use.wildcard or use.prefix for use in found):
            into[alias].many += only
        else:
            into[alias].either.append(tuple(found))

    def judge_like(self, part: Any, into: dict[str, Use]) -> None:
        pattern = self.text(part.expression)
        wild = isinstance(part, self.exp.ILike) or pattern is None or pattern[:1] in ("%", "_", "")
        self.add(part.this, "wildcard" if wild else "prefix", [part.expression], into, part)

    def text(self, node: Any) -> str | None:
        """The value of a pattern, where it can be told: only its first letter matters."""
        exp = self.exp
        if isinstance(node, (exp.Paren, exp.Cast, exp.Lower, exp.Upper)):
            return self.text(node.this)
        if isinstance(node, exp.Literal):
            return str(node.this)
        if isinstance(node, exp.Placeholder):
            slot = slot_of(node)
            values = self.parsed.query.values
            value = values[slot] if slot is not None and slot < len(values) else None
            return value if isinstance(value, str) else None
        if isinstance(node, exp.DPipe):
            return self.text(node.this) or self.text(node.expression)
        if isinstance(node, exp.Concat):
            return next((text for one in node.expressions if (text := self.text(one))), None)
        return None

    def constant(self, part: Any, into: dict[str, Use]) -> None:
        """Note a condition that is the same in every execution."""
        owners = {self.owner(column) for column in self.columns(part)}
        alias = owners.pop() if len(owners) == 1 else ""
        if alias not in into or part.find(self.exp.Select) is not None:
            return
        text = self.fixed_text(part, self.tables[alias])
        names = frozenset(self.parsed.name(column.this) for column in self.columns(part))
        if text and len(names) == 1 and names <= self.tables[alias].columns.keys():
            constant = Constant(text, names)
            if constant not in into[alias].constants:
                into[alias].constants.append(constant)

    def fixed_text(self, part: Any, table: Table) -> str:
        """The condition for CREATE INDEX; empty where a value of it may change or is private."""
        exp = self.exp
        allowed: tuple[Any, ...] = (
            exp.EQ,
            exp.NEQ,
            exp.Is,
            exp.Not,
            exp.Null,
            exp.Boolean,
            exp.Column,
        )
        allowed += (exp.Identifier, exp.Literal, exp.Paren, exp.Placeholder, exp.Cast)
        allowed += (exp.DataType, exp.DataTypeParam)
        if not all(isinstance(node, allowed) for node in part.walk()):
            return ""
        copy = part.copy()
        column = next(iter(self.columns(part)), None)
        known = table.columns.get(self.parsed.name(column.this)) if column else None
        if known is None:
            return ""
        few = known.enum or (known.distinct is not None and 0 < known.distinct <= CATEGORIES)
        if part.find(exp.Literal) is not None and not (few and self.same_text):
            return ""  # put together by hand: the next one has another value
        for node in list(copy.find_all(exp.Placeholder)):
            slot = slot_of(node)
            if slot is None or slot not in self.fixed:
                return ""
            value = self.parsed.query.values[slot]
            # The cast around it is the driver's: the literal gets its type from the column.
            place = node.parent if isinstance(node.parent, exp.Cast) else node
            if isinstance(value, bool):
                place.replace(exp.Boolean(this=value))
            elif isinstance(value, str) and few and value.replace("_", "a").isalnum():
                place.replace(exp.Literal.string(value))
            else:
                return ""
        return self.bare(copy)

    # --- Terms

    def columns(self, node: Any) -> list[Any]:
        return list(node.find_all(self.exp.Column))

    def owner(self, column: Any) -> str:
        """The alias of the table that a column is of; empty for one of an outer query."""
        table = column.args.get("table")
        if table is not None:
            return self.parsed.name(table)
        name = self.parsed.name(column.this)
        owners = [alias for alias, table in self.tables.items() if name in table.columns]
        return owners[0] if len(owners) == 1 else ""

    def term(self, node: Any) -> tuple[str, Term | None]:
        """The alias and the term of an expression that an index can hold."""
        while isinstance(node, self.exp.Paren):
            node = node.this
        columns = self.columns(node)
        owners = {self.owner(column) for column in columns}
        if len(owners) != 1:
            return "", None
        alias = owners.pop()
        names = frozenset(self.parsed.name(column.this) for column in columns)
        if alias not in self.tables or not names <= self.tables[alias].columns.keys():
            return "", None
        if isinstance(node, self.exp.Column):
            return alias, Term(self.parsed.name(node.this), True, names)
        if not all(isinstance(one, self.parsed.expressions) for one in node.walk()):
            return "", None
        if isinstance(node, self.exp.Cast) and not node.is_type("date"):
            return "", None  # what is wrong there is the cast, not that it has no index
        return alias, Term(self.bare(node.copy()), False, names)

    def bare(self, node: Any) -> str:
        """Its text without table names, every name quoted where it has to be."""
        exp = self.exp
        mark = "`" if self.parsed.kind == "mysql" else '"'
        for column in list(node.find_all(exp.Column)):
            name = self.parsed.name(column.this)
            needs = quoted(name, mark) != name
            bare = exp.Column(this=exp.Identifier(this=name, quoted=needs))
            if column is node:
                node = bare
            else:
                column.replace(bare)
        return str(node.sql(dialect=DIALECTS[self.parsed.kind], normalize_functions="lower"))

    # --- The rest of the statement

    def read_order(self) -> None:
        order = self.node.args.get("order")
        if order is None:
            return
        only = ""
        for item in order.expressions:
            alias, term = self.term(self.selected(item.this))
            if term is None or (only and alias != only):
                return
            only = alias
            descending, first = bool(item.args.get("desc")), bool(item.args.get("nulls_first"))
            self.found[alias].order.append(Order(term, descending, first))

    def selected(self, node: Any) -> Any:
        """What a position or a label in ORDER BY stands for."""
        selected = getattr(self.node, "selects", [])
        if isinstance(node, self.exp.Literal) and str(node.this).isdigit():
            at = int(str(node.this)) - 1
            return selected[at].unalias() if at < len(selected) else node
        if isinstance(node, self.exp.Column) and node.args.get("table") is None:
            named = [one for one in selected if one.alias == node.name]
            return named[0].unalias() if named else node
        return node

    def read_groups(self) -> None:
        group = self.node.args.get("group")
        for item in group.expressions if group is not None else ():
            alias, term = self.term(item)
            if term is not None:
                self.found[alias].groups.append(term)

    def read_needed(self) -> None:
        """Which columns of each table the statement reads at all."""
        exp = self.exp
        selected = getattr(self.node, "expressions", [])
        for use in self.found.values():
            if not isinstance(self.node, exp.Select):
                use.needed = None
            elif any(one.find(exp.AggFunc) for one in selected):
                use.aggregated = not any(one.find(exp.Window) for one in selected)
        for star in self.node.find_all(exp.Star):
            if not isinstance(star.parent, exp.Count):
                for use in self.found.values():
                    use.needed = None
        for column in self.columns(self.node):
            alias = self.owner(column)
            needed = self.found[alias].needed if alias in self.found else None
            if needed is not None and not isinstance(column.this, exp.Star):
                needed.add(self.parsed.name(column.this))
