"""What a Java class is called, offers, needs and says: names, fields, methods, constants."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import msgspec

from plugins._formats.executables.javaclass import (
    CLASS_FLAGS,
    FIELD_FLAGS,
    METHOD_FLAGS,
    Pool,
    Reader,
    flags,
    members,
    pretty_member,
)
from plugins._text.room import Room
from stoq_core.errors import PluginError
from stoq_core.job import Job
from stoq_core.options import Options, about
from stoq_core.payload import Payload
from stoq_core.plugin import Accepts, Worker

_FIRST_VERSION = 45  # below it the same mark begins a fat Mach-O
_MOST_CHARS = 700_000
_MIN_TRAILING_BYTES = 16


class JavaclassOptions(Options, frozen=True):
    """What is worth reporting."""

    min_constant_chars: Annotated[int, about("shortest constant to report, characters", ge=0)] = 7


class ClassConstant(msgspec.Struct, frozen=True):
    """A constant: `id` is its kind (string, int, long, float, double)."""

    id: str
    data: str


class ClassMember(msgspec.Struct, frozen=True):
    """A field (`x:int`) or method (`main(java.lang.String[]):void`) with its access flags."""

    name: str
    flags: list[str]


class JavaclassResult(msgspec.Struct, omit_defaults=True, kw_only=True):
    """`java` is the release that the `major` version came with.

    `provided`: the class and its members; `required`: classes and members of others. `cut` names
    lists that are not complete, `trailing_bytes` what stands behind the class's end.
    """

    major: int
    minor: int
    java: str
    class_name: str = ""
    super_class: str = ""
    interfaces: list[str] = []
    flags: list[str] = []
    source_file: str = ""
    fields: list[ClassMember] = []
    methods: list[ClassMember] = []
    constants: list[ClassConstant] = []
    provided: list[str] = []
    required: list[str] = []
    cut: list[str] = []
    trailing_bytes: int = 0


class Javaclass(Worker[JavaclassOptions]):
    """Class files of every version up to Java 23; what follows the class's end is a child.

    What was read before the damage of a damaged class is in the result. A fat Mach-O, which begins
    with the same four bytes, has no result.
    """

    roles = ("opens",)
    accepts = Accepts(magic=(b"\xca\xfe\xba\xbe",), min_bytes=10)
    errors = {
        "corrupt": "the constant pool holds a tag that does not exist",
        "truncated": "the file ends before what it claims to hold",
    }
    result = JavaclassResult

    def scan(self, payload: Payload, job: Job) -> Iterator[Any]:
        """Yield one `JavaclassResult` without its empty fields, and the bytes behind the class."""
        reader = Reader(payload.view())
        reader.skip(4)
        minor, major = reader.number(2), reader.number(2)
        if major < _FIRST_VERSION:
            return
        work = _Work(JavaclassResult(major=major, minor=minor, java=_java(major)))
        try:
            work.read(reader, self.options.min_constant_chars)
        except PluginError as error:
            yield work.told()
            raise error
        behind = payload.view()[reader.at :]
        work.result.trailing_bytes = len(behind)
        yield work.told()
        if len(behind) >= _MIN_TRAILING_BYTES:
            yield job.child([behind], name="trailing", offset=reader.at)


def _java(major: int) -> str:
    """45 is 1.1, 48 is 1.4, 49 is 5 and so on (4.1, table 4.1-A)."""
    release = major - _FIRST_VERSION + 1
    return f"1.{release}" if release < 5 else str(release)


class _Work:
    """One class being read."""

    def __init__(self, result: JavaclassResult) -> None:
        self.result, self._room = result, Room(_MOST_CHARS)

    def told(self) -> Any:
        """The result so far, without empty fields."""
        self.result.cut = self._room.cut
        return msgspec.to_builtins(self.result)

    def read(self, reader: Reader, min_chars: int) -> None:
        """Fill the result. Raises `PluginError` where the class ends too early or makes no sense."""
        result, room, pool = self.result, self._room, Pool(reader)
        result.flags = flags(reader.number(2), CLASS_FLAGS)
        result.class_name, result.super_class = pool.name(reader.number(2)), pool.name(reader.number(2))
        result.constants = [
            ClassConstant(kind, data)
            for kind, data in room.take(
                (one for one in pool.literals() if len(one[1]) >= min_chars),
                "constants",
                lambda one: len(one[1]),
            )
        ]
        self._needs(pool)
        numbers = [reader.number(2) for _ in range(reader.number(2))]
        result.interfaces = room.take((pool.name(one) for one in numbers), "interfaces")
        self._members(reader, pool, FIELD_FLAGS, "fields", result.fields)
        self._members(reader, pool, METHOD_FLAGS, "methods", result.methods)
        result.provided = room.take(
            (
                result.class_name,
                *(f"{result.class_name}.{one.name}" for one in (*result.fields, *result.methods)),
            ),
            "provided",
        )
        for name, at, size in reader.attributes():
            if size == 2 and pool.text(name) == "SourceFile":
                result.source_file = pool.text(int.from_bytes(reader.view[at : at + 2], "big"))

    def _needs(self, pool: Pool) -> None:
        own = self.result.class_name
        classes = (one for one in pool.classes() if one != own)
        others = (f"{owner}.{member}" for owner, member in pool.members() if owner != own)
        self.result.required = sorted(set(self._room.take((*classes, *others), "required")))

    def _members(
        self, reader: Reader, pool: Pool, words: dict[int, str], what: str, into: list[ClassMember]
    ) -> None:
        def take(access: list[str], name: int, descriptor: int) -> None:
            member = pretty_member(pool.text(name), pool.text(descriptor))
            if self._room.spend(len(member) + 16 * len(access), len(into), what):
                into.append(ClassMember(member, access))

        members(reader, words, take)
