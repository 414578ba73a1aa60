"""Functions of ClickHouse that SQLAlchemy has no words for."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from reelmesh.analytics.schema import STARTUP


class _QuantilesMerge(FunctionElement[list[float]]):
    """Quantiles of the states in a column of type schema.STARTUP; see `quantiles_merge`."""

    inherit_cache = True


@compiles(_QuantilesMerge)
def _compile(element: _QuantilesMerge, compiler: SQLCompiler, **options: Any) -> str:
    name, parenthesis, levels = STARTUP.partition("(")
    return f"{name}Merge{parenthesis}{levels}({compiler.process(element.clauses, **options)})"


def quantiles_merge(states: ColumnElement[Any]) -> ColumnElement[list[float]]:
    """Return the quantiles that the states of a roll-up's startup times give together.

    The function takes its levels in parentheses of their own: name(levels)(column).
    """
    return _QuantilesMerge(states)
