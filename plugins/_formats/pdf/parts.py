"""Take what a PDF holds out of its streams: attached files, scripts, forms, and all else in one piece."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain as joined
from typing import Any

from plugins._formats.office.native import base_name
from stoq_core.account import Claim
from stoq_core.errors import LimitReached, PluginError, Reason
from stoq_core.job import Child, Job
from stoq_core.limits import MiB

from . import crypt
from .actions import judged, texts, unpacks
from .damage import Damaged, Meter
from .filters import IMAGES, Filter, Sliced, chain_of, decoded, full_name
from .inline import inline
from .scan import Document, Stream
from .seen import Owned, text, text_bytes

STREAMS_MARK = b"%streams of a PDF, decoded\n"
"""How the child begins that holds all streams without one of their own: page contents, fonts, pixels."""
_MOST_PACKED = 16 * MiB
_MOST_PACKED_TOGETHER = 64 * MiB
_FREE_OVERLAP = 64 * 1024
_SAID_OF_A_KIND = 3
_ZLIB_HEADS = (b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda", b"H\x89")


class Parts:
    """The children of one document; what cannot be decoded is reported, the first of a kind by name."""

    def __init__(self, document: Document, job: Job, meter: Meter) -> None:
        """`document` is read; one that is encrypted has to be unlocked before anything is taken out."""
        self.document = document
        self._lock: crypt.Lock | None = None
        self._key: bytes | None = None
        self.packed = 0
        self.unpacking = 0
        """Scripts that unpack code or start an attached file."""
        self._job, self._meter = job, meter
        self._overlap = 2 * len(document.view) + _FREE_OVERLAP
        self._plain_overlap = self._overlap
        self._packed_left = _MOST_PACKED_TOGETHER
        self._reported: Counter[Reason] = Counter()

    def report(self, error: PluginError, where: str = "") -> None:
        """Say that something was not read."""
        reason = error.reason or Reason.CORRUPT
        self._reported[reason] += 1
        if self._reported[reason] <= _SAID_OF_A_KIND:
            self._say(reason, f"{where}: {error.message}" if where else error.message)

    def sum_up(self) -> None:
        """How many more failed as those did that were named."""
        for reason, count in self._reported.items():
            if count > _SAID_OF_A_KIND:
                self._say(reason, f"the same for {count - _SAID_OF_A_KIND} more streams")

    def _say(self, reason: Reason, message: str) -> None:
        self._job.error(reason.value, message)
        self._job.unread(reason, message)

    def text(self, owned: Owned) -> bytes:
        """A string's bytes, decrypted where strings are encrypted."""
        value, owner = owned
        if self._lock is None or self._key is None or owner is None:
            return value
        return crypt.decrypt(self._lock, self._key, owner, value, self._lock.string_cipher)

    def unlock(self, passwords: Iterable[str]) -> str | None:
        """The password that opens an encrypted document, or None; `timeout` when they are too many."""
        seen = self.document.seen
        said = seen.resolved(seen.trailer.get(b"Encrypt"))
        lock = crypt.lock_of(said, seen.resolved(seen.trailer.get(b"ID")))
        for password in passwords if lock is not None else ():
            self._meter.check()
            assert lock is not None
            key = crypt.key_of(lock, password)
            if key is not None:
                self._lock, self._key = lock, key
                return password
        return None

    def _deciphered(self, one: Stream, held: memoryview, chain: list[Filter]) -> memoryview | bytes:
        """A stream's bytes before they were encrypted; tables and streams that say so never were."""
        lock, key = self._lock, self._key
        bare = one.kind == b"XRef" or any(name == b"Crypt" for name, _ in chain)
        if lock is None or key is None or bare or (one.kind == b"Metadata" and not lock.metadata):
            return held
        return crypt.decrypt(lock, key, (one.number, one.generation), bytes(held), lock.stream_cipher)

    def unpack(self) -> None:
        """Read the objects in object streams, so that what they say is known."""
        for one in self.document.streams:
            if one.kind != b"ObjStm":
                continue
            self.packed += 1
            try:
                self.document.read_packed(self._whole(one), one)
            except PluginError as error:
                self.report(error, _called(one))
        self.document.seen.follow()

    def _whole(self, one: Stream) -> bytes:
        """An object stream's text; what of it is damaged is reported when all streams are decoded."""
        kept: list[bytes] = []
        size = 0
        try:
            for chunk in self._decoded(one):
                self._packed_left -= len(chunk)
                size += len(chunk)
                if size > _MOST_PACKED or self._packed_left < 0:
                    self.report(Damaged("too large to read its objects", Reason.TOO_LARGE), _called(one))
                    break
                kept.append(chunk)
        except Damaged:
            return b"".join(kept)
        return b"".join(kept)

    def files(self) -> Iterator[tuple[str, Child]]:
        """Attached files with their names."""
        for n, one in enumerate(filter(self._is_file, self.document.streams), 1):
            name = base_name(text(self.text(self.document.seen.files.get(one.number, (b"", None)))))
            child = self._child(one, name or f"embedded-{n}")
            if child is not None:
                yield name, child

    def scripts(self, most: int) -> Iterator[Child]:
        """Each script as a child, those past the first `most` as one."""
        plain = list(dict.fromkeys(text_bytes(self.text(one)) for one in self.document.seen.scripts))
        plain = [one for one in plain if one.strip()]
        self.unpacking += sum(map(unpacks, plain))
        for n, script in enumerate(plain[:most], 1):
            yield self._job.child([script], name=f"javascript-{n}.js")
        if plain[most:]:
            yield self._job.child(_lines(plain[most:]), name="javascript-more.js")
        for n, one in enumerate(filter(self._is_script, self.document.streams), len(plain) + 1):
            child = self._child(one, f"javascript-{n}.js")
            if child is not None:
                self.unpacking += unpacks(bytes(child.body.view()[:_MOST_PACKED]))
                yield child

    def led(self) -> Iterator[tuple[str, str]]:
        """Findings about actions, the first of each name, with their detail."""
        actions, found = self.document.seen.actions, dict[str, str]()
        for action in actions.found:
            said = [
                text(self.text((one, action.owner)))
                for one in texts(action.said, self.document.seen.resolved)
            ]
            for name, detail in judged(action.kind, said, opens=actions.opens(action)):
                found.setdefault(name, detail)
        yield from found.items()

    def forms(self) -> Iterator[Child]:
        """Streams of XFA forms."""
        for n, one in enumerate(filter(self._is_form, self.document.streams), 1):
            child = self._child(one, f"xfa-{n}.xml")
            if child is not None:
                yield child

    def rest(self) -> Iterator[Child]:
        """All other streams that are encoded, one behind the other, pictures last."""
        others = [one for one in self.document.streams if not self._is_own(one)]
        others.sort(key=lambda one: one.subtype == b"Image")
        plain = joined(self._concatenated(others), self._strings())
        first = next((chunk for chunk in plain if chunk), b"")
        if first:
            yield self._job.child(joined((STREAMS_MARK, first), plain), name="streams")

    def _strings(self) -> Iterator[bytes]:
        """The strings of a document that encrypts them: nobody else can read them."""
        seen = self.document.seen
        if self._lock is None:
            return
        for key, value, owner in seen.strings:
            yield b"\n/%s (%s)" % (key, self.text((value, owner)))
        if seen.lost_strings:
            self.report(Damaged("more strings are encrypted than are read", Reason.OPTION_LIMIT))

    def _concatenated(self, streams: Iterable[Stream]) -> Iterator[bytes]:
        for one in streams:
            held: list[bytes] = []
            try:
                for chunk in self._decoded(one, raw=False):
                    if chunk and not held:
                        yield b"\n"
                    held.append(chunk if one.subtype != b"Image" else b" ")
                    yield chunk
                yield from self._inline(one, held)
            except LimitReached as error:
                self.report(error)
                return
            except PluginError as error:
                self.report(error, _called(one))

    def _inline(self, one: Stream, held: list[bytes]) -> Iterator[bytes]:
        """Pictures within a page's contents, whether these are packed or stand in the file as they are."""
        if one.subtype == b"Image" or sum(map(len, held)) > _MOST_PACKED:
            return
        plain = b"".join(held)
        if not plain:
            stands = self.document.bytes_of(one)[:_MOST_PACKED]
            self._plain_overlap -= len(stands)
            if self._plain_overlap < 0:
                raise LimitReached(
                    Reason.RATIO, "streams overlap: together they hold more than the file does"
                )
            plain = bytes(stands)
        yield from inline(plain, self._meter)

    def _child(self, one: Stream, name: str) -> Child | None:
        child, problem = self._job.salvage(
            self._decoded(one), name=name, object=one.number if one.number >= 0 else None
        )
        if isinstance(problem, PluginError):
            self.report(problem, _called(one))
        elif problem is not None:
            raise problem
        return child if child.body.size else None

    def _decoded(self, one: Stream, *, raw: bool = True) -> Iterator[bytes]:
        """A stream's plain bytes; without `raw` nothing for one that is not encoded."""
        self._meter.check()
        filters, params = self.document.filters_of(one)
        chain = chain_of(filters, params)
        held = self.document.bytes_of(one)
        guessed = filters is None and self._lock is None and bytes(held[:2]) in _ZLIB_HEADS
        if guessed:  # a dictionary too broken for its filter to be seen
            chain = [(b"FlateDecode", {})]
        if not raw and not chain and self._lock is None:
            self._claim(one, one.end - one.start, _image_of(filters))
            return
        self._overlap -= len(held)
        if self._overlap < 0:
            raise LimitReached(Reason.RATIO, "streams overlap: together they hold more than the file does")
        plain = self._deciphered(one, held, chain)
        rows = raw or one.subtype != b"Image"  # pixels are compared with nothing: no time for them
        source = Sliced(plain, self._meter)
        try:
            yield from decoded(source, chain, self._meter, rows=rows)
            self._claim(one, len(held) - (source.left if self._lock is None else 0), Claim.CHILD)
        except Damaged as error:
            self._claim(one, len(held), _image_of(filters) if guessed else Claim.UNREAD)
            if guessed or _begins_as_image(filters):
                return
            if one.cut and error.reason is Reason.CORRUPT:
                raise Damaged(error.message, Reason.TRUNCATED) from None
            raise

    def _claim(self, one: Stream, size: int, kind: Claim) -> None:
        account = self._job.account
        claimed = self.document.claimed
        claimed[one.start] = max(claimed.get(one.start, 0), one.start + size)
        {
            Claim.MEDIA: account.media, Claim.SEARCHED: account.searched, Claim.UNREAD: account.unread,
        }.get(kind, account.child)(one.start, size)  # fmt: skip

    def _is_file(self, one: Stream) -> bool:
        return one.kind == b"EmbeddedFile" or one.number in self.document.seen.files

    def _is_script(self, one: Stream) -> bool:
        return one.number in self.document.seen.script_refs and not self._is_file(one)

    def _is_form(self, one: Stream) -> bool:
        form = one.number in self.document.seen.form_refs
        return form and not self._is_file(one) and not self._is_script(one)

    def _is_own(self, one: Stream) -> bool:
        return self._is_file(one) or self._is_script(one) or self._is_form(one)


def _image_of(filters: Any) -> Claim:
    """Pictures of formats of their own are media; other bytes are searched as they stand."""
    names = filters if isinstance(filters, list) else [filters]
    return Claim.MEDIA if any(full_name(name) in IMAGES for name in names) else Claim.SEARCHED


def _begins_as_image(filters: Any) -> bool:
    """Whether the first of several filters is an image's: what it leaves is media, whatever follows."""
    return isinstance(filters, list) and len(filters) > 1 and full_name(filters[0]) in IMAGES


def _lines(scripts: Iterable[bytes]) -> Iterator[bytes]:
    for one in scripts:
        yield one
        yield b"\n"


def _called(one: Stream) -> str:
    return f"object {one.number}" if one.number >= 0 else f"the stream at {one.start}"
