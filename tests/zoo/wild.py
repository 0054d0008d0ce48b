"""Animals by chance: a table of a few columns and one thing of each that is asked, then a change.

In the test-suite from seeds; `make zoo WILD=200` lets Hypothesis draw, and shrink what fails. Its
plugin would cost each pytest 0.7 CPU seconds, those within tests too, so it lies in `.zoo` (#13).
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
    parts = [(second if later and chance.random() > 0.6 else first).format(n=number)]
    nullable = chance.random() < 0.5
    if later and chance.random() > 0.7:
        nullable = True  # the other way needs a value for the rows that are there
    if defaults and chance.random() > (0.5 if later else 0.4):
        parts.append(f"server_default={chance.choice(defaults)}")
    parts.append(f"nullable={nullable}")
    if kind < INDEXED and chance.random() > 0.75:
        parts.append(chance.choice(("index=True", "unique=True")))
    if chance.random() > 0.8:
        parts.append(f"comment={chance.choice(('of no use', 'it%s', 'a: b', 'mañana'))!r}")
    return f"c{number} = mapped_column({', '.join(parts)})"


def wild(chance: random.Random, name: object = "") -> Animal:
    """What these draws make; the smaller they are, the less there is."""
    kinds = [chance.randrange(len(TYPES)) for _ in range(chance.randint(2, 5))]
    marks = [chance.random() for _ in kinds]
    before, after = [[SIZE], [SIZE]]
    for number, (kind, mark) in enumerate(zip(kinds, marks, strict=True)):
        if mark <= 0.85:
            before.append(column(chance, number, kind, later=False))
        if mark < 0.35:
            after.append(before[-1])
        elif mark <= 0.7 or mark > 0.85:
            after.append(column(chance, number, kind, later=mark <= 0.7))
    arguments = []
    if chance.random() > 0.6:
        arguments.append("sa.CheckConstraint('size > 0', name='positive')")
    if chance.random() > 0.7:
        arguments.append("{'comment': 'by chance'}")
    extra = ", ".join(arguments)
    return Animal(
        f"by chance {name}",
        thing(*before, arguments=extra),
        thing(*after, arguments=extra),
        ALL,
        convention=NAMES if chance.random() > 0.5 else {},
    )
