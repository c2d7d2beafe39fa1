"""What is the value of an expression that somebody typed?"""

from __future__ import annotations

import ast
import math
import operator
import re
import unicodedata
from collections.abc import Callable
from typing import Protocol

from reference_agent.conversation import BadArguments

Number = int | float


class Expressions(Protocol):
    """Calculates."""

    def value(self, expression: str) -> str:
        """Return the value as text.

        Raises:
            BadArguments: it is not an expression that this calculator takes.
        """
        ...


class DocumentedExpressions:
    """`eval` without builtins. `().__class__.__base__.__subclasses__()` walks out of it; bombs run until they end."""

    def value(self, expression: str) -> str:
        return str(eval(expression, {"__builtins__": None, "math": math}, {}))  # the documented hole


class ProposedExpressions:
    """A walk over the syntax tree that bounds the numbers in it, but not what they come to.

    `10**10**10` still runs (for over nine minutes, with the interpreter's lock held); depth is not bounded; `math` is
    lost; and whatever goes wrong is the same sentence.
    """

    def value(self, expression: str) -> str:
        try:
            return str(self._of(ast.parse(expression, mode="eval").body))
        except Exception:  # the documented hole
            msg = "計算できませんでした"
            raise BadArguments(msg) from None

    def _of(self, node: ast.expr) -> Number:
        match node:
            case ast.Constant(value=int() | float() as value) if abs(value) <= _PROPOSED_LITERAL:
                return value
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return -self._of(operand)
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _PROPOSED_OPERATORS:
                return _BINARY[type(op)](self._of(left), self._of(right))
        raise ValueError(node)


_PROPOSED_LITERAL = 10**10
_PROPOSED_OPERATORS = (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.Pow)


_CHARS = 200
_NODES = 60
_DEPTH = 15
_BITS = 4096  # of every intermediate result; about 1,200 digits, far below what takes a millisecond
_DIGITS_SHOWN = 40
_PLACES = 30
_SIGNS = str.maketrans({"×": "*", "÷": "/", "^": "**", "−": "-", "π": " pi "})
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")

_BINARY: dict[type[ast.operator], Callable[[Number, Number], Number]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}


def _rounded(value: Number, places: Number = 0) -> Number:
    # Rounding to -10**9 places takes ten to that power first, whatever is rounded.
    if not isinstance(places, int) or abs(places) > _PLACES:
        msg = f"rounds to at most {_PLACES} places"
        raise BadArguments(msg)
    return round(value, places) if places else round(value)


_FUNCTIONS: dict[str, Callable[..., Number]] = {
    **{
        name: getattr(math, name)
        for name in ("sqrt", "sin", "cos", "tan", "asin", "acos", "atan", "atan2", "exp", "log", "log2", "log10")
    },
    **{name: getattr(math, name) for name in ("floor", "ceil", "hypot", "degrees", "radians", "fabs", "gcd")},
    "abs": abs,
    "round": _rounded,
    "min": min,
    "max": max,
}
_CONSTANTS = {"pi": math.pi, "e": math.e, "tau": math.tau}


class HardenedExpressions:
    """Walks a whitelisted syntax tree and bounds every result *before* it is calculated.

    A time-out around the calculation would not help: the interpreter's lock is held while a big power runs. So
    length, nodes, depth and the bits of every intermediate result are bounded instead.
    """

    def value(self, expression: str) -> str:
        if len(expression) > _CHARS:
            msg = f"longer than {_CHARS} characters"
            raise BadArguments(msg)
        try:
            tree = ast.parse(_as_typed(expression), mode="eval")
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            msg = "not an arithmetic expression"
            raise BadArguments(msg) from None
        if sum(1 for _ in ast.walk(tree)) > _NODES * 2:  # names and operators carry a node of context each
            msg = f"more than {_NODES} terms"
            raise BadArguments(msg)
        try:
            result = self._of(tree.body, 0)
        except (ArithmeticError, ValueError, TypeError) as impossible:
            raise BadArguments(str(impossible)) from None
        text = str(result)
        return text if len(text) <= _DIGITS_SHOWN else f"{text[:_DIGITS_SHOWN]}…（{len(text)}桁）"

    def _of(self, node: ast.expr, depth: int) -> Number:
        if depth > _DEPTH:
            msg = f"nested deeper than {_DEPTH}"
            raise BadArguments(msg)
        match node:
            case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
                return _bounded(value)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return -self._of(operand, depth + 1)
            case ast.UnaryOp(op=ast.UAdd(), operand=operand):
                return self._of(operand, depth + 1)
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
                return self._binary(type(op), self._of(left, depth + 1), self._of(right, depth + 1))
            case ast.Name(id=name) | ast.Attribute(value=ast.Name(id="math"), attr=name) if name in _CONSTANTS:
                return _CONSTANTS[name]
            case ast.Call(
                func=ast.Name(id=name) | ast.Attribute(value=ast.Name(id="math"), attr=name), args=args, keywords=[]
            ) if name in _FUNCTIONS:
                return _bounded(_FUNCTIONS[name](*(self._of(argument, depth + 1) for argument in args)))
        msg = f"{type(node).__name__} is not arithmetic"
        raise BadArguments(msg)

    def _binary(self, op: type[ast.operator], left: Number, right: Number) -> Number:
        if op is ast.Pow and isinstance(left, int) and isinstance(right, int) and right > 0:
            bits = left.bit_length() * right
        elif op is ast.Mult and isinstance(left, int) and isinstance(right, int):
            bits = left.bit_length() + right.bit_length()
        else:
            bits = 0
        if bits > _BITS and not (op is ast.Pow and left in (-1, 0, 1)):
            msg = "the result is too big"
            raise BadArguments(msg)
        return _bounded(_BINARY[op](left, right))


def _as_typed(expression: str) -> str:
    """Return what people type as Python writes it: full-width signs, × and ÷, thousands, "= ?" at the end."""
    plain = unicodedata.normalize("NFKC", expression).translate(_SIGNS).rstrip("=? \n").lstrip()
    # Within a call, a comma parts what is given to a function.
    return plain if "(" in plain else _THOUSANDS.sub("", plain)


def _bounded(value: Number) -> Number:
    if isinstance(value, int) and value.bit_length() > _BITS:
        msg = "the result is too big"
        raise BadArguments(msg)
    if isinstance(value, float) and not math.isfinite(value):
        msg = "the result is too big"
        raise BadArguments(msg)
    if isinstance(value, complex):
        msg = "the result is not a real number"
        raise BadArguments(msg)
    return value


VARIANTS = {"documented": DocumentedExpressions, "proposed": ProposedExpressions, "hardened": HardenedExpressions}
