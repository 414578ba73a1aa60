"""Rows of JSON Lines: a Title as protobuf JSON each, with external ids in place of names where there are such."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.timestamp_pb2 import Timestamp

from reelmesh.catalog.rowcodecs.model import LEFT_OUT, FieldUnknown, Row, RowRefused, Unreadable, ValueInvalid
from reelmesh.catalog.v1.title_pb2 import Title

_PARENT, _MEMBERS = "parentExternalId", "memberExternalIds"
_Read = Callable[[Any, str], Any]
"""Makes a message's value of a JSON value at a path. Raises RowRefused."""


class JsonRows:
    """Reads and writes rows."""

    def decode(self, data: bytes) -> Row:
        """Read a row. Raises RowRefused."""
        try:
            given = json.loads(data, object_pairs_hook=_once, parse_constant=_refuse)
        except RowRefused:
            raise
        except (ValueError, RecursionError) as error:
            raise Unreadable(f"it is no JSON: {error}"[:200]) from error
        if not isinstance(given, dict):
            raise Unreadable("it is no object of JSON")
        external_id = given.get("externalId", given.get("external_id", ""))
        try:
            return _row(given)
        except RowRefused as error:
            error.external_id = external_id if isinstance(external_id, str) else ""
            raise

    def encode(self, row: Row) -> bytes:
        """Write a row, with its line's end."""
        title = Title()
        title.CopyFrom(row.title)
        for field in LEFT_OUT:
            title.ClearField(field)  # type: ignore[arg-type] # a field's name, not a literal
        if title.external_id:
            title.ClearField("name")
        if row.parent_external_id:
            title.ClearField("parent_title")
        if row.member_external_ids:
            title.ClearField("members")
        found = MessageToDict(title)
        if row.parent_external_id:
            found[_PARENT] = row.parent_external_id
        if row.member_external_ids:
            found[_MEMBERS] = list(row.member_external_ids)
        return json.dumps(found, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def _row(given: dict[str, Any]) -> Row:
    parent = _taken(given, _PARENT, "parent_external_id")
    members = _taken(given, _MEMBERS, "member_external_ids")
    for field in LEFT_OUT:
        for key in (field, Title.DESCRIPTOR.fields_by_name[field].json_name):
            if key in given:
                raise ValueInvalid(key, "only the platform writes it; leave it out")
    title: Title = _reader_of(Title.DESCRIPTOR)(given, "")
    return Row(
        title,
        _text(parent, _PARENT) if parent is not None else "",
        tuple(_list(_text)(members, _MEMBERS)) if members is not None else (),
    )


def _taken(given: dict[str, Any], *keys: str) -> Any:
    found = [given.pop(key) for key in keys if key in given]
    return found[0] if found else None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        again = next(key for key in keys if keys.count(key) > 1)
        raise ValueInvalid(again[:100], "is given twice")
    return found


def _refuse(constant: str) -> None:
    raise Unreadable(f"{constant} is no JSON")


@cache
def _reader_of(descriptor: Descriptor) -> _Read:
    make: Callable[..., Message] = GetMessageClass(descriptor)
    fields: Mapping[str, tuple[str, _Read]] = {
        key: (field.name, _reader(field)) for field in descriptor.fields for key in (field.name, field.json_name)
    }

    def read(value: Any, path: str) -> Any:
        if not isinstance(value, dict):
            raise ValueInvalid(path, "must be an object")
        values = {}
        for key, given in value.items():
            where = f"{path}.{key}" if path else key
            field = fields.get(key)
            if field is None:
                raise FieldUnknown(where[:200])
            if given is None:
                continue
            name, reader = field
            if name in values:
                raise ValueInvalid(where, "is given twice")
            values[name] = reader(given, where)
        return make(**values)

    return read


def _reader(field: FieldDescriptor) -> _Read:
    one = _reader_of_one(field)
    return _list(one) if field.is_repeated else one


def _reader_of_one(field: FieldDescriptor) -> _Read:
    if field.message_type is not None:
        special = _SPECIAL.get(field.message_type.full_name)
        return special if special is not None else _reader_of(field.message_type)
    if field.enum_type is not None:
        return _enum(field.enum_type)
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        return _text
    bits = 32 if field.cpp_type == FieldDescriptor.CPPTYPE_INT32 else 64
    return _integer(bits)


def _list(one: _Read) -> _Read:
    def read(value: Any, path: str) -> Any:
        if not isinstance(value, list):
            raise ValueInvalid(path, "must be a list")
        return [one(each, f"{path}[{place}]") for place, each in enumerate(value)]

    return read


def _text(value: Any, path: str) -> str:
    if not isinstance(value, str):
        raise ValueInvalid(path, "must be a text")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise ValueInvalid(path, "has half a character in it") from error
    return value


def _integer(bits: int) -> _Read:
    most = (1 << (bits - 1)) - 1

    def read(value: Any, path: str) -> int:
        number = value
        if isinstance(value, str):  # protobuf JSON writes large numbers so
            if not (value.removeprefix("-").isascii() and value.removeprefix("-").isdigit() and len(value) < 21):
                raise ValueInvalid(path, "must be a whole number")
            number = int(value)
        if isinstance(number, float) and number.is_integer():
            number = int(number)
        if isinstance(number, bool) or not isinstance(number, int):
            raise ValueInvalid(path, "must be a whole number")
        if not -most - 1 <= number <= most:
            raise ValueInvalid(path, f"must have {bits} bits")
        return number

    return read


def _enum(descriptor: EnumDescriptor) -> _Read:
    by_name = {value.name: value.number for value in descriptor.values}
    numbers = frozenset(by_name.values())

    def read(value: Any, path: str) -> int:
        number = by_name.get(value) if isinstance(value, str) else value
        if isinstance(number, bool) or not isinstance(number, int) or number not in numbers:
            raise ValueInvalid(path, f"must be one of {', '.join(by_name)}")
        return number

    return read


def _timestamp(value: Any, path: str) -> Timestamp:
    time = Timestamp()
    try:
        time.FromJsonString(_text(value, path))
    except ValueError as error:
        raise ValueInvalid(path, "must be a time such as 2026-11-27T12:00:00Z") from error
    return time


def _duration(value: Any, path: str) -> Duration:
    duration = Duration()
    try:
        duration.FromJsonString(_text(value, path))
    except ValueError as error:
        raise ValueInvalid(path, "must be a duration in seconds, such as 5400s") from error
    return duration


_SPECIAL: Mapping[str, _Read] = {
    Timestamp.DESCRIPTOR.full_name: _timestamp,
    Duration.DESCRIPTOR.full_name: _duration,
}
