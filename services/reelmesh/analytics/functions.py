"""Expressions that many queries need, and functions of ClickHouse that SQLAlchemy has no words for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from clickhouse_connect.cc_sqlalchemy import Lambda
from sqlalchemy import ColumnElement, Select, Table, func
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from reelmesh.analytics.schema import STARTUP
from reelmesh.analytics.spans import Span


def fixed(digits: str) -> ColumnElement[Any]:
    """Return an id, given as 32 digits of hex, as tables have it (schema.ID)."""
    return func.toFixedString(func.unhex(digits), 16)


def least_id(milliseconds: int) -> ColumnElement[Any]:
    """Return the least id that anything named at a time, in ms since 1970, can have: the time is in the id."""
    return fixed(f"{milliseconds:012x}{'0' * 20}")


def during(time: ColumnElement[Any], span: Span) -> tuple[ColumnElement[bool], ...]:
    """Return the conditions of a time to be within a span."""
    return time >= func.toDateTime(span.start, "UTC"), time < func.toDateTime(span.end, "UTC")


def lambda_of(names: str | Sequence[str], body: ColumnElement[Any]) -> ColumnElement[Any]:
    """Return what arrayMap and arrayFilter do with each element, which `body` calls by `names`."""
    return Lambda(names, body)  # type: ignore[no-untyped-call]  # the dialect has it without types


def final(query: Select[Any], table: Table) -> Select[Any]:
    """Let a query see the latest row of each key of a table alone."""
    found: Select[Any] = query.final(table)  # type: ignore[attr-defined]  # the dialect adds it
    return found


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
