"""What is changed in a module to see whether a test notices: one small change of its syntax tree at a time.

Left out by rule, as no test should hold them fast: the wording of messages (texts, and all that a `raise` is given),
annotations, decorators and class keywords, `__all__`, the schema's NOT NULL, how long is waited, the encoding of files,
and what joins paths or texts. Texts are changed where they are compared, and where they are SQL.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from os.path import commonprefix
from typing import Any

__all__ = ["Mutant", "mutants"]

COMPARED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    **{ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq},
    **{ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In},
}
RECKONED: dict[type[ast.operator], type[ast.operator]] = {
    **{ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult},
    **{ast.Mod: ast.Mult, ast.Pow: ast.Mult, ast.BitOr: ast.BitAnd, ast.BitAnd: ast.BitOr},
}
SQL = re.compile(r"\b(SELECT|INSERT|UPDATE|DELETE|CREATE|FROM|WHERE|ORDER BY)\b")
IN_SQL = {
    **{" < ": " <= ", " <= ": " < ", " > ": " >= ", " >= ": " > ", r" \+ 1\b": " + 2", r" \+ (?!1\b)": " - "},
    **{" DESC": " ASC", " IS NULL": " IS NOT NULL", r" IS NOT \?": " IS ?", "LEFT JOIN": "JOIN", "UNIQUE ": ""},
    **{r"(?<!BETWEEN \?) AND ": " OR ", r"(?<!INSERT) OR ": " AND ", " OR REPLACE": "", "'[a-z]+'": "'other'"},
    **{r"coalesce\((\S+), [a-z]+\)": r"\1", " = ": " <> "},
}
ASSIGNS = re.compile(r"\b(SET|PRAGMA)\b(?!.*\b(WHERE|ON|CHECK)\b)", re.DOTALL)
NARROW = 90  # characters of a change that are told whole
WAITS = {"timeout", "encoding"}  # arguments that are left out of it: how long is waited, and what is so on any machine
UNTOUCHED = {"annotation", "returns", "decorator_list", "keywords of ClassDef", "bases", "format_spec"}


@dataclass(frozen=True)
class Mutant:
    """A module with one change.

    Attributes:
        name: the file, the function, what was replaced by what; unique, and the same wherever the function stands.
        lines: of the statement that is changed; none where it runs when the module is imported.
        source: of the whole module.
    """

    name: str
    lines: range
    source: str


@dataclass(frozen=True)
class _Place:
    """Where a node hangs: in which field of which node, below which statement of the module, in which function."""

    parent: ast.AST
    field: str
    at: int
    node: ast.AST
    top: int = 0
    function: str = ""
    within: bool = False
    statement: ast.stmt | None = None
    compared: bool = False

    def put(self, old: int, new: list[ast.AST]) -> None:
        """Let ``new`` hang here in the place of that many nodes."""
        held = getattr(self.parent, self.field)
        if isinstance(held, list):
            held[self.at : self.at + old] = new
        else:
            setattr(self.parent, self.field, new[0])

    def lines(self) -> range:
        """Of the statement, without the block below it."""
        if not self.within or self.statement is None:
            return range(0)
        body = getattr(self.statement, "body", None)
        end = body[0].lineno - 1 if body else self.statement.end_lineno or 0
        return range(self.statement.lineno, max(end, self.statement.lineno) + 1)


def mutants(file: str, source: str) -> Iterator[Mutant]:
    """All mutants of a module, in the order of its lines."""
    tree = ast.parse(source)
    pieces = [ast.unparse(each) for each in tree.body]
    seen: Counter[str] = Counter()
    for place in list(_places(_Place(ast.Module([], []), "body", 0, tree))):
        for new in _changes(place):
            name = f"{file} {place.function or 'module'}: {_told(place, new)}"
            seen[name] += 1
            place.put(1, new)
            piece = new if place.parent is tree else [tree.body[place.top]]
            changed = [*pieces[: place.top], *map(ast.unparse, piece), *pieces[place.top + 1 :]]
            place.put(len(new), [place.node])
            again = f" ({seen[name]})" if seen[name] > 1 else ""
            yield Mutant(name + again, place.lines(), "\n".join(changed) + "\n")


def _places(above: _Place) -> Iterator[_Place]:
    yield above
    node = above.node
    if isinstance(node, ast.Raise) or _is_list_of_names(node):
        return
    for field, held in ast.iter_fields(node):
        if {field, f"{field} of {type(node).__name__}"} & UNTOUCHED:
            continue
        for at, child in enumerate(held if isinstance(held, list) else [held]):
            if isinstance(child, ast.AST):
                yield from _places(_below(above, field, at, child))


def _below(above: _Place, field: str, at: int, child: ast.AST) -> _Place:
    node = above.node
    place = replace(above, parent=node, field=field, at=at, node=child)
    if isinstance(node, ast.Module):
        place = replace(place, top=at)
    listed = above.compared and isinstance(node, ast.Tuple | ast.List | ast.Set)
    place = replace(place, compared=isinstance(node, ast.Compare) or listed)
    if isinstance(node, ast.FunctionDef | ast.ClassDef) and field == "body":
        function = f"{above.function}.{node.name}".lstrip(".")
        place = replace(place, function=function, within=above.within or isinstance(node, ast.FunctionDef))
    return replace(place, statement=child) if isinstance(child, ast.stmt) else place


def _is_list_of_names(node: ast.AST) -> bool:
    """`__all__`, and what is imported for types only."""
    if isinstance(node, ast.Assign):
        return isinstance(node.targets[0], ast.Name) and node.targets[0].id == "__all__"
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def _told(place: _Place, new: list[ast.AST]) -> str:
    """What is replaced by what, in a line; a constant or an argument with what it stands in, to be told from others."""
    around = isinstance(place.node, ast.Constant | ast.keyword) and isinstance(place.parent, ast.expr)
    if around and not isinstance(place.parent, ast.JoinedStr):
        old = ast.unparse(place.parent)
        place.put(1, new)
        said = ast.unparse(place.parent)
        place.put(len(new), [place.node])
    else:
        old, said = ast.unparse(place.node), "; ".join(map(ast.unparse, new))
    old, said = " ".join(old.split()), " ".join(said.split())
    if max(len(old), len(said)) <= NARROW:
        return f"{old} → {said}"
    if not new or isinstance(new[0], ast.stmt):
        return f"{old[:NARROW]}… → {said[: NARROW // 3]}"
    start = len(commonprefix([old, said]))  # noqa: RUF071 - letter by letter is what is wanted
    end = len(commonprefix([old[start:][::-1], said[start:][::-1]]))  # noqa: RUF071
    before, after = old[max(start - NARROW // 2, 0) : start], old[len(old) - end :][: NARROW // 3]
    return f"…{before}[{old[start : len(old) - end]} → {said[start : len(said) - end]}]{after}…"


def _changes(place: _Place) -> Iterator[list[ast.AST]]:
    """What may stand in the place of a node."""
    node = place.node
    if isinstance(node, ast.stmt):
        yield from _of_statement(node)
    elif isinstance(node, ast.Constant):
        for value in _other_constants(place, node.value):
            yield [ast.Constant(value)]
    elif isinstance(node, ast.keyword):
        yield from [[]] if node.arg and node.arg not in WAITS else []
    elif isinstance(node, ast.Compare):
        for at, op in enumerate(node.ops):
            ops = [*node.ops[:at], COMPARED[type(op)](), *node.ops[at + 1 :]]
            yield [ast.Compare(node.left, ops, node.comparators)]
    elif isinstance(node, ast.BoolOp):
        yield [ast.BoolOp(ast.Or() if isinstance(node.op, ast.And) else ast.And(), node.values)]
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield [node.operand]
    elif isinstance(node, ast.BinOp) and type(node.op) in RECKONED and not _joins(node):
        yield [ast.BinOp(node.left, RECKONED[type(node.op)](), node.right)]
    elif place.field in ("test", "ifs") and isinstance(node, ast.expr):
        yield [ast.UnaryOp(ast.Not(), node)]


def _of_statement(node: ast.stmt) -> Iterator[list[ast.AST]]:
    match node:
        case ast.Return(value=ast.expr() as value) if not _is_plain(value):
            yield [ast.Return(ast.Constant(None))]
        case ast.Expr(value=ast.Call()) | ast.Raise() | ast.Continue() | ast.Break() | ast.Delete():
            yield [ast.Pass()]
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]):
            yield [ast.Pass()]
        case ast.AugAssign(op=op) if type(op) in RECKONED:
            yield [ast.AugAssign(node.target, RECKONED[type(op)](), node.value)]
        case ast.With() if all(item.optional_vars is None for item in node.items):
            yield list(node.body)
        case _:
            pass


def _other_constants(place: _Place, value: object) -> Iterator[Any]:
    if isinstance(value, bool):
        yield from [] if isinstance(place.parent, ast.keyword) else [not value]  # its default says the same
    elif isinstance(value, int | float):
        yield from [] if getattr(place.parent, "arg", "") in WAITS else [value + 1]
    elif isinstance(value, str) and place.compared:
        yield f"{value}x"
    elif isinstance(value, str) and SQL.search(value) and not isinstance(place.parent, ast.Expr):
        for old, new in IN_SQL.items():
            for found in re.finditer(old, value):
                if old == " = " and ASSIGNS.search(value[: found.start()]):
                    continue
                yield value[: found.start()] + found.expand(new) + value[found.end() :]


def _joins(node: ast.BinOp) -> bool:
    """Paths or texts, as far as one can see: with another operator that is an error of type, and shows nothing."""
    return isinstance(node.op, ast.Add | ast.Div | ast.Mod) and any(
        isinstance(each, ast.JoinedStr) or (isinstance(each, ast.Constant) and isinstance(each.value, str))
        for each in (node.left, node.right)
    )


def _is_plain(node: ast.expr) -> bool:
    """None, or a truth: its own change says the same."""
    return isinstance(node, ast.Constant) and (node.value is None or isinstance(node.value, bool))
