"""Read a Java class file up to its attributes: constant pool, names, fields and methods.

Source: *The Java Virtual Machine Specification*, Java SE 23, chapter 4. Names are cut at a length,
because 65,535 constants may all point at one name of 65,535 bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from stoq_core.errors import PluginError, Reason

NAME_CHARS, CONSTANT_CHARS = 512, 4_096
_UTF8 = 1
_CLASS, _STRING, _NAME_AND_TYPE = 7, 8, 12
_MEMBER_TAGS = {9: "field", 10: "method", 11: "interface_method"}
_NUMBERS = {3: ("int", ">i"), 4: ("float", ">f"), 5: ("long", ">q"), 6: ("double", ">d")}
# every other tag (4.4, table 4.4-B) and the bytes behind it
_SIZES = {7: 2, 8: 2, 9: 4, 10: 4, 11: 4, 12: 4, 15: 3, 16: 2, 17: 4, 18: 4, 19: 2, 20: 2}
_WIDE = {5, 6}  # take two numbers of the pool (4.4.5)
_PRIMITIVES = {"B": "byte", "C": "char", "D": "double", "F": "float", "I": "int", "J": "long", "S": "short",
               "Z": "boolean", "V": "void"}  # fmt: skip
_MOST_DIMENSIONS = 255  # 4.3.2

CLASS_FLAGS = {0x1: "public", 0x10: "final", 0x20: "super", 0x200: "interface", 0x400: "abstract",
               0x1000: "synthetic", 0x2000: "annotation", 0x4000: "enum", 0x8000: "module"}  # fmt: skip
FIELD_FLAGS = {0x1: "public", 0x2: "private", 0x4: "protected", 0x8: "static", 0x10: "final",
               0x40: "volatile", 0x80: "transient", 0x1000: "synthetic", 0x4000: "enum"}  # fmt: skip
METHOD_FLAGS = {0x1: "public", 0x2: "private", 0x4: "protected", 0x8: "static", 0x10: "final",
                0x20: "synchronized", 0x40: "bridge", 0x80: "varargs", 0x100: "native", 0x400: "abstract",
                0x800: "strict", 0x1000: "synthetic"}  # fmt: skip


class Constant(NamedTuple):
    """An entry of the constant pool: its tag, where its bytes begin and how many they are."""

    tag: int
    at: int
    size: int


class Reader:
    """Big-endian numbers from a place that moves on. Raises `PluginError("truncated")` at the end."""

    def __init__(self, view: memoryview) -> None:
        """Begin at the first byte."""
        self.view, self.at = view, 0

    def number(self, size: int) -> int:
        """An unsigned number of `size` bytes."""
        return int.from_bytes(self.view[self.skip(size) : self.at], "big")

    def skip(self, size: int) -> int:
        """Go on by `size` bytes; the place before."""
        before = self.at
        if size > len(self.view) - before:
            message = f"{size} bytes are claimed at offset {before}, {len(self.view) - before} are there"
            raise PluginError("truncated", message, reason=Reason.TRUNCATED)
        self.at += size
        return before

    def attributes(self) -> Iterator[tuple[int, int, int]]:
        """Each attribute: number of its name, where its bytes begin, how many (4.7); goes on behind it."""
        for _ in range(self.number(2)):
            name, size = self.number(2), self.number(4)
            yield name, self.skip(size), size


class Pool:
    """The constant pool (4.4)."""

    def __init__(self, reader: Reader) -> None:
        """Read all entries. Raises `PluginError`: `truncated`, or `corrupt` for a tag that does not exist."""
        self._view = reader.view
        self._entries: dict[int, Constant] = {}
        count, number = reader.number(2), 1
        while number < count:
            tag = reader.number(1)
            size = self._size(tag, reader)
            self._entries[number] = Constant(tag, reader.skip(size), size)
            number += 2 if tag in _WIDE else 1

    @staticmethod
    def _size(tag: int, reader: Reader) -> int:
        if tag == _UTF8:
            return reader.number(2)
        if tag in _NUMBERS:
            return 8 if tag in _WIDE else 4
        if tag not in _SIZES:
            raise PluginError("corrupt", f"a constant has the tag {tag}", reason=Reason.CORRUPT)
        return _SIZES[tag]

    def text(self, number: int, chars: int = NAME_CHARS) -> str:
        """A name or text in modified UTF-8 (4.4.7), or an empty string for what is none."""
        one = self._entries.get(number)
        if one is None or one.tag != _UTF8:
            return ""
        data = bytes(self._view[one.at : one.at + min(one.size, chars * 3)]).replace(b"\xc0\x80", b"\0")
        decoded = data.decode("utf-8", "surrogatepass" if _paired(data) else "replace")
        return decoded.encode("utf-16", "surrogatepass").decode("utf-16", "replace")[:chars]

    def name(self, number: int) -> str:
        """A class's, module's or package's name with dots, or an empty string."""
        one = self._entries.get(number)
        if one is None or one.size != 2:
            return ""
        name = self.text(self._number(one, 0))
        return pretty_type(name) if name.startswith("[") else name.replace("/", ".")

    def _number(self, one: Constant, offset: int) -> int:
        return int.from_bytes(self._view[one.at + offset : one.at + offset + 2], "big")

    def literals(self) -> Iterator[tuple[str, str]]:
        """Kind and text of each string and number."""
        for one in self._entries.values():
            if one.tag == _STRING:
                yield "string", self.text(self._number(one, 0), CONSTANT_CHARS)
            elif one.tag in _NUMBERS:
                kind, layout = _NUMBERS[one.tag]
                yield kind, str(struct.unpack_from(layout, self._view, one.at)[0])

    def classes(self) -> Iterator[str]:
        """The name of each class that is mentioned."""
        for number, one in self._entries.items():
            if one.tag == _CLASS:
                yield self.name(number)

    def members(self) -> Iterator[tuple[str, str]]:
        """Class, and member with its types, of each field and method that is mentioned."""
        for one in self._entries.values():
            if one.tag not in _MEMBER_TAGS:
                continue
            pair = self._entries.get(self._number(one, 2))
            if pair is not None and pair.tag == _NAME_AND_TYPE:
                member = pretty_member(self.text(self._number(pair, 0)), self.text(self._number(pair, 2)))
                yield self.name(self._number(one, 0)), member


def _paired(data: bytes) -> bool:
    """True if the bytes decode once surrogates are let through."""
    try:
        data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return False
    return True


def pretty_type(descriptor: str) -> str:
    """`[Ljava/lang/String;` as `java.lang.String[]` (4.3.2)."""
    return _type(descriptor, 0)[0]


def pretty_member(name: str, descriptor: str) -> str:
    """`println` and `(I)V` as `println(int):void`; a field's `x` and `I` as `x:int`."""
    if not descriptor.startswith("("):
        return f"{name}:{pretty_type(descriptor)}"
    at, types = 1, []
    while at < len(descriptor) and descriptor[at] != ")":
        one, at = _type(descriptor, at)
        types.append(one)
    return f"{name}({', '.join(types)}):{_type(descriptor, at + 1)[0]}"


def _type(descriptor: str, at: int) -> tuple[str, int]:
    start = at
    while at < len(descriptor) and descriptor[at] == "[":
        at += 1
    brackets = "[]" * min(at - start, _MOST_DIMENSIONS)
    if at < len(descriptor) and descriptor[at] == "L":
        end = descriptor.find(";", at)
        end = len(descriptor) if end < 0 else end
        return descriptor[at + 1 : end].replace("/", ".") + brackets, end + 1
    return _PRIMITIVES.get(descriptor[at : at + 1], "?") + brackets, at + 1


def flags(value: int, names: dict[int, str]) -> list[str]:
    """The words for an access mask."""
    return [name for bit, name in names.items() if value & bit]


def members(reader: Reader, names: dict[int, str], take: Callable[[list[str], int, int], Any]) -> None:
    """Hand each field or method to `take`: its flags, and the numbers of name and descriptor (4.5, 4.6)."""
    for _ in range(reader.number(2)):
        access, name, descriptor = reader.number(2), reader.number(2), reader.number(2)
        for _attribute in reader.attributes():
            pass
        take(flags(access, names), name, descriptor)
