"""Turn a YAML document into frozen dataclasses: one definition of a setting types it, validates it and documents it.

A field's annotation says what is accepted (`str`, `int`, `float`, `bool`, `Path`, `timedelta`, `Size`, `tuple[X, ...]`,
`Mapping[str, X]`, `X | None`, `Any`, another dataclass), `setting()` gives its default and bounds, and the string below
it is its manual.
Whatever is left out takes the default, so a default must be safe.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Hashable, Mapping
from datetime import timedelta
from pathlib import Path
from types import UnionType
from typing import Any, NewType, TypeVar, get_args, get_origin, get_type_hints

import yaml

T = TypeVar("T")

Size = NewType("Size", int)
"""A number of bytes, written as ``"512KiB"``, ``"1MiB"``, ``"2GiB"`` or a plain integer."""

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_SIZE = re.compile(r"(\d+)(|KiB|MiB|GiB)")
_BYTES = {"": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}


class SettingError(ValueError):
    """A setting is missing, unknown or wrong; the message begins with its path in the file."""


def setting(default: Any = dataclasses.MISSING, *, least: Any = None, most: Any = None) -> Any:
    """Declare a field with inclusive bounds; without a default it must be given."""
    bounds = {"least": least, "most": most}
    if isinstance(default, Mapping):
        return dataclasses.field(default_factory=lambda: default, metadata=bounds)
    return dataclasses.field(default=default, metadata=bounds)


def read(cls: type[T], file: Path) -> T:
    """Read `file` as a `cls`; raise SettingError, which names the file, where it does not fit."""
    try:
        document = yaml.load(file.read_text(encoding="utf-8"), Loader=_UniqueKeys)  # noqa: S506, a SafeLoader
        return build(cls, {} if document is None else document)
    except (OSError, yaml.YAMLError, SettingError) as error:
        raise SettingError(f"{file}: {error}") from error


def build(cls: type[T], value: object, path: str = "") -> T:
    """Make a `cls` of a mapping; `path` is where the mapping stands in the file."""
    if not isinstance(value, Mapping):
        raise SettingError(f"{path or 'the file'}: must be a mapping, not {_kind(value)}")
    fields = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    hints = get_type_hints(cls)
    arguments: dict[str, Any] = {}
    for key, item in value.items():
        where = f"{path}.{key}" if path else str(key)
        if key not in fields:
            close = difflib.get_close_matches(str(key), fields, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else f"; known are {', '.join(fields)}"
            raise SettingError(f"{where}: unknown setting{hint}")
        arguments[key] = _convert(hints[key], item, where)
        _check_bounds(fields[key].metadata, arguments[key], item, where)
    for name, field in fields.items():
        needed = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if needed and name not in arguments:
            raise SettingError(f"{path}.{name}: must be given" if path else f"{name}: must be given")
    return cls(**arguments)


def _convert(hint: Any, value: object, path: str) -> Any:
    if hint is Any:
        return value
    if get_origin(hint) is UnionType:
        return None if value is None else _convert(get_args(hint)[0], value, path)
    if hint is Path and type(value) is str:
        return Path(value)
    if hint is timedelta:
        return timedelta(seconds=_scaled(value, _DURATION, _SECONDS, path, 'a duration such as "15s" or "250ms"'))
    if hint is Size:
        return int(_scaled(value, _SIZE, _BYTES, path, 'a size such as "1MiB"'))
    if get_origin(hint) is tuple:
        return _list(get_args(hint)[0], value, path)
    if get_origin(hint) is Mapping:
        return _mapping(get_args(hint)[1], value, path)
    if dataclasses.is_dataclass(hint):
        return build(hint, value, path)  # type: ignore[arg-type]
    if hint is float and type(value) is int:
        return float(value)
    # Exact types: YAML reads a bare `no` as a bool, and a bool would pass for an int.
    if type(value) is not hint:
        raise SettingError(f"{path}: must be {_NAMES[hint]}, not {_kind(value)}")
    return value


def _list(hint: Any, value: object, path: str) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise SettingError(f"{path}: must be a list, not {_kind(value)}")
    items = tuple(_convert(hint, item, f"{path}[{i}]") for i, item in enumerate(value))
    if len(set(items)) < len(items):
        raise SettingError(f"{path}: an entry stands there twice")
    return items


def _mapping(hint: Any, value: object, path: str) -> dict[str, Any]:
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise SettingError(f"{path}: must be a mapping from names, not {_kind(value)}")
    return {key: _convert(hint, item, f"{path}.{key}") for key, item in value.items()}


def _scaled(value: object, pattern: re.Pattern[str], units: Mapping[str, float], path: str, wanted: str) -> float:
    text = str(value) if type(value) in (int, str) else ""
    match = pattern.fullmatch(text)
    if match is None:
        raise SettingError(f"{path}: must be {wanted}, not {value!r}")
    return float(match[1]) * units[match[2]]


def _check_bounds(bounds: Mapping[str, Any], value: Any, written: object, path: str) -> None:
    least, most = bounds.get("least"), bounds.get("most")
    if least is not None and value < least:
        raise SettingError(f"{path}: {written} is below the least, {least}; leave it out for the default")
    if most is not None and value > most:
        raise SettingError(f"{path}: {written} is above the most, {most}")


_NAMES = {str: "a string", Path: "a path", int: "an integer", float: "a number", bool: "true or false"}


def _kind(value: object) -> str:
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    return repr(value)


class _UniqueKeys(yaml.SafeLoader):
    """YAML lets a later key silently replace an earlier one; a service defined twice is a mistake."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for key, _ in node.value:
            name = self.construct_object(key, deep=True)
            if name in seen:
                line = key.start_mark.line + 1
                raise SettingError(f"line {line}: {name!r} stands there twice")
            seen.add(name)
        return super().construct_mapping(node, deep)
