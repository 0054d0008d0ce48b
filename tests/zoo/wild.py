"""Animals by chance: a table of a few columns and one thing of each that is asked, then a change.

From a seed, so that one that fails is had again: `make zoo WILD=200` takes the seeds below 200.
"""

import random

from zoo.corpus import ALL, NAMES, Animal, thing

# A type, the type that it gets, and server defaults that every database takes for both.
TYPES = (
    ("sa.String(20)", "sa.String(40)", ("'x'", '"it\'s"', "''")),
    ("sa.Integer", "sa.BigInteger", ("'0'", "sa.text('1')", "sa.text('-5')")),
    ("sa.SmallInteger", "sa.Integer", ("'3'",)),
    ("sa.Numeric(10, 2)", "sa.Numeric(12, 4)", ("'1.5'", "sa.text('0')")),
    ("sa.Float", "sa.Double", ("'0.5'",)),
    ("sa.Boolean", "sa.Boolean", ("sa.true()", "sa.false()")),
    ("sa.DateTime", "sa.DateTime", ("sa.func.now()",)),
    ("sa.Date", "sa.DateTime", ()),
    ("sa.Text", "sa.Text", ()),
    ("sa.Uuid", "sa.Uuid", ()),
    ("sa.JSON", "sa.JSON", ()),
    ("sa.LargeBinary(20)", "sa.LargeBinary(20)", ()),
    ("sa.Enum('a', 'b', name='kind{n}')", "sa.Enum('a', 'b', name='kind{n}')", ("'a'",)),
    ("sa.Enum('a', 'b', native_enum=False)", "sa.Enum('a', 'b', native_enum=False)", ("'b'",)),
    ("sa.String(9).with_variant(sa.Text, 'sqlite')", "sa.String(9)", ("'v'",)),
)
SIZE = "size: Mapped[int] = mapped_column(server_default='1')"
INDEXED = 9
"""The types up to here: MySQL has no index on a text without a length."""


def column(chance: random.Random, number: int, kind: int, *, later: bool) -> str:
    """`later`: as the second revision has it."""
    first, second, defaults = TYPES[kind]
    own = random.Random(f"{number} {kind} {chance.random()}")
    parts = [(second if later and own.random() < 0.4 else first).format(n=number)]
    nullable = own.random() < 0.5
    if later and own.random() < 0.3:
        nullable = True  # the other way needs a value for the rows that are there
    if defaults and own.random() < (0.6 if not later else 0.5):
        parts.append(f"server_default={own.choice(defaults)}")
    parts.append(f"nullable={nullable}")
    if kind < INDEXED and own.random() < 0.25:
        parts.append(own.choice(("index=True", "unique=True")))
    if own.random() < 0.2:
        parts.append(f"comment={own.choice(('of no use', 'it%s', 'a: b', 'mañana'))!r}")
    return f"c{number} = mapped_column({', '.join(parts)})"


def wild(seed: int) -> Animal:
    """What this seed makes."""
    chance = random.Random(seed)
    kinds = [chance.randrange(len(TYPES)) for _ in range(chance.randint(2, 5))]
    marks = [chance.random() for _ in kinds]
    before, after = [[SIZE], [SIZE]]
    for number, (kind, mark) in enumerate(zip(kinds, marks, strict=True)):
        if mark > 0.15:
            before.append(column(chance, number, kind, later=False))
        if mark < 0.85:
            after.append(
                before[-1] if 0.15 < mark < 0.5 else column(chance, number, kind, later=mark > 0.15)
            )
    arguments = []
    if chance.random() < 0.4:
        arguments.append("sa.CheckConstraint('size > 0', name='positive')")
    if chance.random() < 0.3:
        arguments.append("{'comment': 'by chance'}")
    extra = ", ".join(arguments)
    return Animal(
        f"by chance {seed}",
        thing(*before, arguments=extra),
        thing(*after, arguments=extra),
        ALL,
        convention=NAMES if chance.random() < 0.5 else {},
    )
