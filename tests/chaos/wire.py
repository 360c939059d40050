"""wire.py - bodies of the bus as Python values, by the published messages/guildbus.proto and nothing else.

    Envelope bytes ─▶ ("record", {"guild_id": …, "change": {"rows": […]}})

Fields that a body does not carry are absent from its dict; get() them. What is no protobuf raises Malformed.
"""
import pathlib
import re
import struct

PROTO = pathlib.Path(__file__).resolve().parents[2] / "messages/guildbus.proto"
VARINTS = ("uint32", "uint64", "int32", "int64", "bool")


class Malformed(Exception):
    """These bytes are no such message."""


class Schema:
    def __init__(self, text):
        text = re.sub(r"//[^\n]*", "", text)
        self.enums = set(re.findall(r"\benum\s+(\w+)\s*\{", text))
        self.messages = {}
        for name, body in _blocks(text):
            fields = {}
            for repeated, kind, field, number in re.findall(r"(repeated\s+)?\b(\w+)\s+(\w+)\s*=\s*(\d+)\s*;", body):
                fields[int(number)] = (field, kind, bool(repeated))
            self.messages[name] = fields

    def decode(self, name, data):
        fields, found, at, end = self.messages[name], {}, 0, len(data)
        while at < end:
            key, at = _varint(data, at, end)
            value, at = _raw(data, at, end, key & 7)
            known = fields.get(key >> 3)
            if known:
                self._put(found, known, key & 7, value)
        return found

    def _put(self, found, known, wire, value):
        name, kind, repeated = known
        if wire == 2 and repeated and (kind in VARINTS or kind in ("sint64", "sint32")):
            found.setdefault(name, []).extend(self._value(kind, v) for v in _packed(value))
        elif repeated:
            found.setdefault(name, []).append(self._value(kind, value))
        else:
            found[name] = self._value(kind, value)

    def _value(self, kind, value):
        if kind in self.messages:
            return self.decode(kind, value)
        if kind == "string":
            return bytes(value).decode("utf-8", "replace")
        if kind == "bytes":
            return bytes(value)
        if kind == "double":
            return struct.unpack("<d", value)[0]
        if kind == "fixed64":
            return struct.unpack("<Q", value)[0]
        if kind in ("sint64", "sint32"):
            return (value >> 1) ^ -(value & 1)
        if kind in ("int64", "int32"):
            return value - (1 << 64) if value >> 63 else value
        return bool(value) if kind == "bool" else value


def _blocks(text):
    """(name, body) of each message; a oneof's fields belong to the message around it."""
    for found in re.finditer(r"\bmessage\s+(\w+)\s*\{", text):
        depth, at = 1, found.end()
        while depth:
            depth += {"{": 1, "}": -1}.get(text[at], 0)
            at += 1
        yield found[1], text[found.end():at - 1]


def _varint(data, at, end):
    shift = value = 0
    while True:
        if at >= end or shift > 63:
            raise Malformed("a number is cut or too long")
        byte = data[at]
        at += 1
        value |= (byte & 0x7f) << shift
        if byte < 0x80:
            return value & 0xffffffffffffffff, at
        shift += 7


def _raw(data, at, end, wire):
    if wire == 0:
        return _varint(data, at, end)
    size = 8 if wire == 1 else 4 if wire == 5 else None
    if wire == 2:
        size, at = _varint(data, at, end)
    if size is None or at + size > end:
        raise Malformed(f"wire type {wire}" if size is None else "a field is cut")
    return data[at:at + size], at + size


def _packed(data):
    at, end = 0, len(data)
    while at < end:
        value, at = _varint(data, at, end)
        yield value


SCHEMA = Schema(PROTO.read_text())
BODIES = {number: field for number, (field, _, _) in SCHEMA.messages["Envelope"].items()}


def decode(body):
    """(kind, message) of an Envelope; ("", {}) when it has none."""
    try:
        found = SCHEMA.decode("Envelope", body)
    except (struct.error, IndexError, TypeError, AttributeError) as e:
        raise Malformed(repr(e)) from e
    for kind, message in found.items():
        return kind, message
    return "", {}


def body_kind(body):
    """Which kind of Envelope this may be, by its first byte alone; "": none."""
    return BODIES.get(_first_field(body), "") if body else ""


def _first_field(body):
    try:
        key, _ = _varint(body, 0, min(len(body), 10))
    except Malformed:
        return 0
    return key >> 3 if key & 7 == 2 else 0


def value_of(v):
    """A RowOp's Value as SQLite hands it out."""
    for kind in ("integer", "real", "text", "blob"):
        if kind in v:
            return v[kind]
    return None
