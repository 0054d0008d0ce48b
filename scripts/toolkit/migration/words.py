"""Operations of a migration in words."""

from collections.abc import Mapping, Sequence
from typing import Any

from toolkit.report.text import counted

Operation = Mapping[str, Any]

DATA_LOSS = {
    "DropTable": "drops the table {table} with all its rows",
    "DropColumn": "drops the column {table}.{column} with all its values",
}

SENTENCES = {
    "CreateTable": "create table {table} ({contents})",
    "DropTable": "drop table {table}",
    "AddColumn": "add column {table}.{column} {type}{null}{default}",
    "DropColumn": "drop column {table}.{column}",
    "RenameColumn": "rename column {table}.{column} to {new}",
    "RenamedTable": "rename table {table} to {new}",
    "AlterColumn": "change column {table}.{column}: {changes}",
    "CreateIndex": "create {unique}index {name} on {table} ({on})",
    "DropIndex": "drop index {name} on {table}",
    "CreateUniqueConstraint": "add unique constraint {name} on {table} ({on})",
    "CreateForeignKey": "add foreign key {name}: {table} ({on}) to {refers_to}",
    "CreateCheckConstraint": "add check constraint {name} on {table}",
    "DropConstraint": "drop {constraint} constraint {name} on {table}",
    "Postgresql": "{words}",
    "Sequence": "{words}",
}


def in_words(operations: Sequence[Operation]) -> list[str]:
    """One line per operation; the indexes of a new table are counted in its line."""
    created = {table_name(op) for op in operations if op["op"] == "CreateTable"}
    lines = []
    for operation in operations:
        if operation["op"] == "CreateIndex" and table_name(operation) in created:
            continue
        lines.append(sentence(operation, operations))
    return lines


def data_losses(operations: Sequence[Operation]) -> list[str]:
    """What the migration destroys when it runs on a database with rows."""
    return [
        DATA_LOSS[op["op"]].format(table=table_name(op), column=op.get("column"))
        for op in operations
        if op["op"] in DATA_LOSS
    ]


def table_name(operation: Operation) -> str:
    schema = operation.get("schema")
    table = str(operation.get("table", ""))
    return f"{schema}.{table}" if schema else table


def sentence(op: Operation, operations: Sequence[Operation]) -> str:
    values = {
        **op,
        "table": table_name(op),
        "name": op.get("name") or "(unnamed)",
        "on": ", ".join(op.get("on", ())),
        "unique": "unique " if op.get("unique") else "",
        "null": "" if op.get("nullable", True) else " NOT NULL",
        "default": " with a server default" if op.get("default") else "",
        "changes": ", ".join(op.get("changes", ())),
    }
    if op["op"] == "CreateTable":
        values["contents"] = contents(op, operations)
    template = SENTENCES.get(op["op"], f"{spaced(op['op'])} {{table}}")
    return template.format_map(values).strip()


def contents(op: Operation, operations: Sequence[Operation]) -> str:
    indexes = [
        other
        for other in operations
        if other["op"] == "CreateIndex" and table_name(other) == table_name(op)
    ]
    unique = sum(bool(index.get("unique")) for index in indexes)
    parts = (
        (op["columns"], "column"),
        (op["foreign_keys"], "foreign key"),
        (op["unique_constraints"], "unique constraint"),
        (unique, "unique index"),
        (len(indexes) - unique, "index"),
        (op["checks"], "check"),
    )
    return ", ".join(counted(number, noun) for number, noun in parts if number)


def spaced(name: str) -> str:
    """`CreateTableComment` as `create table comment`."""
    return "".join(f" {c.lower()}" if c.isupper() else c for c in name).strip()
