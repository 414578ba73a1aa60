"""What the contracts say beyond types: who may call an rpc, and how a field may be shown."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import Any

from google.protobuf import descriptor_pool
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from reelmesh.annotations.v1 import annotations_pb2

MOST_METHODS = 1024
"""Rpcs whose options are remembered: every call asks for them, more than once, and they never change."""


@lru_cache(MOST_METHODS)
def access_of(method: str) -> annotations_pb2.Access | None:
    """Return the access option of ``/package.Service/Method``; None when the contract states none."""
    service_name, _, method_name = method.lstrip("/").rpartition("/")
    try:
        service = descriptor_pool.Default().FindServiceByName(service_name)
        options = service.methods_by_name[method_name].GetOptions()
    except KeyError:
        return None
    if not options.HasExtension(annotations_pb2.access):
        return None
    return options.Extensions[annotations_pb2.access]


def loggable(message: Message, key: bytes) -> dict[str, Any]:
    """Return `message` as it may be logged: secrets left out, personal values as a hash keyed with `key`."""
    copy = type(message)()
    copy.CopyFrom(message)
    _redact(copy, key)
    return MessageToDict(copy)


def _redact(message: Message, key: bytes) -> None:
    for field, value in message.ListFields():
        sensitivity = field.GetOptions().Extensions[annotations_pb2.sensitivity]
        if sensitivity == annotations_pb2.SENSITIVITY_SECRET:
            message.ClearField(field.name)
        elif sensitivity == annotations_pb2.SENSITIVITY_PERSONAL:
            message.ClearField(field.name)
            if field.type == FieldDescriptor.TYPE_STRING and not field.is_repeated:
                digest = hashlib.blake2b(value.encode(), key=key, digest_size=8).hexdigest()
                setattr(message, field.name, f"hash:{digest}")
        elif field.type == FieldDescriptor.TYPE_BYTES and not field.is_repeated:
            setattr(message, field.name, b"")  # media has no place in a log
        elif field.message_type is not None and not field.message_type.GetOptions().map_entry:
            for part in value if field.is_repeated else [value]:
                _redact(part, key)
