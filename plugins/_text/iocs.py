"""Find indicators in bytes: addresses, names, URLs, hashes and hardware addresses, in linear time.

No expression here repeats over an unbounded run: runs are found with `bytes.find` on a *mask*, a copy
of the text in which each byte stands for its class, and every run is looked at once.
"""

from __future__ import annotations

import bisect
import functools
import ipaddress
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

_DEFANGED = re.compile(
    rb"[\[({]\s?(?:\.|dot|:|://|@|at|/)\s?[\])}]|(?:hxxp|hxp|h\*\*p|fxp)(?=s?[\[({]?\s?:)", re.IGNORECASE
)
_PLAIN = {b"dot": b".", b"at": b"@", b"hxxp": b"http", b"hxp": b"http", b"h**p": b"http", b"fxp": b"ftp"}
_WIDE = re.compile(rb"(?:[\x20-\x7e]\x00){8}(?:[\x20-\x7e]\x00)*+")
_CONTEXT_BYTES = 40
_MAX_HOST, _MAX_URL, _MAX_LOCAL = 253, 2_048, 64
_SCHEME = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]{1,14}$")
_SCHEMES = frozenset((
    "http", "https", "ftp", "ftps", "sftp", "tftp", "ssh", "telnet", "tcp", "udp", "ws", "wss", "ldap",
    "ldaps", "rmi", "dns", "rtsp", "smb", "file", "svn", "git",
))  # fmt: skip
_URL_END = re.compile(rb"[\x00-\x20\"<>`\\^{}|\x7f]")
_NO_SUFFIX = frozenset(("cc", "do", "in", "la", "md", "mov", "pl", "ps", "py", "rs", "sh", "so", "zip"))
"""Suffixes that are file extensions or words too: a bare name of two labels with one is no domain."""
_HASHES = {32: "md5", 40: "sha1", 64: "sha256", 128: "sha512"}
_IPV6_FULL = re.compile(rb"(?<![hx:.-])(?:h{1,4}+:){7}h{1,4}+(?![hx:])")


class Ioc(NamedTuple):
    """One indicator: its type, its plain value, where it stands in the bytes, and whether it was defanged."""

    kind: str
    value: str
    offset: int
    defanged: bool
    text: bytes
    start: int
    end: int

    @property
    def context(self) -> str:
        """Up to 40 characters before and behind it, as they read when refanged."""
        around = self.text[max(0, self.start - _CONTEXT_BYTES) : self.end + _CONTEXT_BYTES]
        return "".join(c if c.isprintable() else " " for c in around.decode("latin-1"))


def _mask(classes: dict[str, str]) -> bytes:
    """A translation table: each character of a key becomes the mark that is its value, all else a space."""
    table = bytearray(b" " * 256)
    for letters, mark in classes.items():
        for one in letters.encode():
            table[one] = ord(mark)
    return bytes(table)


_HEX_DIGITS = "0123456789abcdefABCDEF"
_OTHERS = "ghijklmnopqrstuvwxyzGHIJKLMNOPQRSTUVWXYZ_"
_HOST = _mask({_HEX_DIGITS + _OTHERS + "-": "h", ".": ".", "@": "@"})
_LOCAL = _mask({_HEX_DIGITS + _OTHERS + "-.+%=&~'!#$*/?^{|}": "h"})
_HEX = _mask({_HEX_DIGITS: "h", _OTHERS: "x", ":": ":", "-": "-", ".": "."})


class Suffixes:
    """The bundled public suffix list, read when it is first needed; never from the network."""

    _list: Any = None

    @classmethod
    def load(cls) -> Any:
        """The list."""
        if cls._list is None:
            from publicsuffixlist import PublicSuffixList

            cls._list = PublicSuffixList(accept_unknown=False)
        return cls._list

    @classmethod
    def of(cls, host: str) -> str | None:
        """The public suffix of a host that has a name in front of it, or None."""
        found = cls.load().publicsuffix(host)
        return found if found and found != host else None


def find(content: bytes, keep: Callable[[str, str], bool] = lambda _kind, _value: True) -> Iterator[Ioc]:
    """Every indicator in the bytes and in their UTF-16 runs, each occurrence; `keep` is an allow list.

    Offsets count in `content`. A URL's host and a mail address's domain are reported as such, too.
    """
    yield from _Text(content, lambda at: at, keep).all()
    wide, starts, sources = [], [], []
    at = 0
    for run in _WIDE.finditer(content) if b"\0" in content else ():
        letters = run.group()[::2]
        wide.append(letters)
        starts.append(at)
        sources.append(run.start())
        at += len(letters) + 1
    if wide:

        def place(where: int) -> int:
            index = max(0, bisect.bisect_right(starts, where) - 1)
            return sources[index] + 2 * (where - starts[index])

        yield from _Text(b"\n".join(wide), place, keep).all()


class _Text:
    """One text: refanged, with the way back to the offsets it came from."""

    def __init__(self, content: bytes, place: Callable[[int], int], keep: Callable[[str, str], bool]) -> None:
        self._place, self._keep = place, keep
        self._at: list[int] = [0]  # where in the refanged text the shift changes,
        self._shift: list[int] = [0]  # by how much its offsets differ from there on,
        self._spots: list[int] = []  # and where something was refanged
        self.text = self._refang(content)
        self.host = self.text.translate(_HOST)
        self.hex = self.text.translate(_HEX)

    def _refang(self, content: bytes) -> bytes:
        parts: list[bytes] = []
        last = made = 0
        for found in _DEFANGED.finditer(content):
            word = found.group().strip(b"[](){} \t\r\n\v\f").lower()
            plain = _PLAIN.get(word, word)
            parts += (content[last : found.start()], plain)
            made += found.start() - last
            self._spots.append(made)
            made += len(plain)
            last = found.end()
            self._at.append(made)
            self._shift.append(last - made)
        return b"".join((*parts, content[last:])) if parts else content

    def all(self) -> Iterator[Ioc]:
        yield from self._urls()
        yield from self._hosts()
        yield from self._mails()
        yield from self._ipv6()
        yield from self._hashes()
        yield from self._macs()

    def _ioc(self, kind: str, value: str, start: int, end: int) -> Iterator[Ioc]:
        if not self._keep(kind, value):
            return
        shift = self._shift[bisect.bisect_right(self._at, start) - 1]
        spot = bisect.bisect_left(self._spots, start)
        defanged = spot < len(self._spots) and self._spots[spot] < end
        yield Ioc(kind, value, self._place(start + shift), defanged, self.text, start, end)

    def _urls(self) -> Iterator[Ioc]:
        at = self.text.find(b"://")
        while at >= 0:
            scheme = _SCHEME.search(self.text[max(0, at - 15) : at])
            end = at + 3
            if scheme and scheme.group().decode().lower() in _SCHEMES:
                start = at - len(scheme.group())
                stop = _URL_END.search(self.text, at + 3, at + _MAX_URL)
                end = stop.start() if stop else min(len(self.text), at + _MAX_URL)
                yield from self._url(start, at + 3, end)
            at = self.text.find(b"://", max(end - 2, at + 3))

    def _url(self, start: int, host_at: int, end: int) -> Iterator[Ioc]:
        raw = self.text[start:end].rstrip(b".,;:!?'*")
        for opening, closing in ((b"(", b")"), (b"[", b"]")):
            if raw.endswith(closing) and opening not in raw:
                raw = raw.rstrip(closing + b".,;:!?'")
        url = raw.decode("utf-8", "backslashreplace")
        authority = re.split(r"[/?#]", url[host_at - start :], maxsplit=1)[0].rpartition("@")[2]
        host = authority[1:].partition("]")[0] if authority.startswith("[") else authority.partition(":")[0]
        if _is_address(host) or _is_domain(host):
            yield from self._ioc("urls", url, start, start + len(raw))
        if not host.isascii() and _is_domain(host):
            yield from self._ioc("domains", host.lower(), host_at, host_at + len(authority.encode()))

    def _hosts(self) -> Iterator[Ioc]:
        end = 0
        while (at := self.host.find(b"h.h", end)) >= 0:
            start = max(self.host.rfind(b" ", end, at), self.host.rfind(b"@", end, at)) + 1 or end
            end = _run_end(_HOST_RUN, self.host, at)
            if end - start > _MAX_HOST + 16:
                continue
            token = self.text[start:end]
            begin = start + len(token) - len(token.lstrip(b".-_"))
            word = token.strip(b".-_").decode()
            if "." not in word:
                continue
            stop = begin + len(word)
            if word[0].isdigit() and word[-1].isdigit():
                if _is_address(word):
                    yield from self._ioc("ipv4", word, begin, stop)
            elif _is_domain(word) and (self._named(begin, stop) or not _is_file_name(word)):
                yield from self._ioc("domains", word.lower(), begin, stop)

    def _named(self, start: int, end: int) -> bool:
        """True where the text around says that this is a host: a URL, a mail address, a defanged dot."""
        spot = bisect.bisect_left(self._spots, start)
        refanged = spot < len(self._spots) and self._spots[spot] < end
        return refanged or self.text[start - 3 : start] == b"://" or self.text[start - 1 : start] == b"@"

    def _mails(self) -> Iterator[Ioc]:
        done = 0
        while (at := self.host.find(b"h@h", done) + 1) > 0:
            before = self.text[max(done, at - _MAX_LOCAL) : at].translate(_LOCAL)
            local = self.text[at - len(before) + before.rfind(b" ") + 1 : at].lstrip(b".'*/!?{|}=&#$^~")
            run = _HOST_RUN.match(self.host, at + 1, at + _MAX_HOST + 2)
            host = self.text[at + 1 : run.end() if run else at].strip(b".-_").decode()
            if local and _is_domain(host):
                start, end = at - len(local), at + 1 + len(host)
                yield from self._ioc("emails", f"{local.decode()}@{host.lower()}", start, end)
            done = at + 1

    def _ipv6(self) -> Iterator[Ioc]:
        for found in _IPV6_FULL.finditer(self.hex):
            yield from self._address6(found.start(), found.end())
        end = 0
        while (at := self.hex.find(b"::", end)) >= 0:
            floor = max(end, at - 40)
            start = max(self.hex.rfind(mark, floor, at) for mark in (b" ", b"x", b"-", b".")) + 1 or floor
            end = _run_end(_HEX_RUN, self.hex, at)
            edge = self.hex[start - 1 : start] + self.hex[end : end + 1]
            if 3 < end - start <= 46 and not set(edge) & set(b"xh:"):
                yield from self._address6(start, end)

    def _address6(self, start: int, end: int) -> Iterator[Ioc]:
        word = self.text[start:end].rstrip(b".").decode()
        if (word.count(":") > 2 or sum(c.isdigit() for c in word) > 1) and _is_address(word):
            yield from self._ioc("ipv6", str(ipaddress.ip_address(word)), start, start + len(word))

    def _hashes(self) -> Iterator[Ioc]:
        end = 0
        while (at := self.hex.find(b"h" * 32, end)) >= 0:
            end = _run_end(_H_RUN, self.hex, at)
            edge = self.hex[max(0, at - 1) : at] + self.hex[end : end + 1]
            kind = _HASHES.get(end - at)
            if kind is None or b"x" in edge:
                continue
            value = self.text[at:end].decode().lower()
            if len(set(value)) > 4:
                yield from self._ioc(kind, value, at, end)

    def _macs(self) -> Iterator[Ioc]:
        for mark, run in ((b":", _COLON_RUN), (b"-", _DASH_RUN)):
            shape = mark.join([b"hh"] * 6)
            end = 0
            while (at := self.hex.find(shape, end)) >= 0:
                end = _run_end(run, self.hex, at)
                edge = self.hex[max(0, at - 1) : at] + self.hex[end : end + 1]
                value = self.text[at:end].decode().lower().replace("-", ":")
                if end - at == len(shape) and not set(edge) & set(b"hx" + mark) and len(set(value)) > 2:
                    yield from self._ioc("macs", value, at, end)


_HOST_RUN, _HEX_RUN, _H_RUN = re.compile(rb"[h.]++"), re.compile(rb"[h:.]++"), re.compile(rb"h++")
_COLON_RUN, _DASH_RUN = re.compile(rb"[h:]++"), re.compile(rb"[h-]++")


def _run_end(run: re.Pattern[bytes], mask: bytes, at: int) -> int:
    """Where the run that begins at `at` ends."""
    found = run.match(mask, at)
    return found.end() if found else at + 1


@functools.lru_cache(maxsize=16_384)
def _is_address(word: str) -> bool:
    try:
        ipaddress.ip_address(word)
    except ValueError:
        return False
    return True


@functools.lru_cache(maxsize=16_384)
def _is_domain(host: str) -> bool:
    """Labels of the right size below a known public suffix; names of other alphabets in URLs, too."""
    if not 3 < len(host) <= _MAX_HOST or "." not in host:
        return False
    labels = host.split(".")
    if not all(0 < len(one) <= 63 and one[0] != "-" and one[-1] != "-" for one in labels):
        return False
    if labels[-1].isdigit() or any(not (c.isalnum() or c in "-_") for one in labels for c in one):
        return False
    return Suffixes.of(host.lower()) is not None


def _is_file_name(word: str) -> bool:
    labels = word.lower().split(".")
    return len(labels) == 2 and labels[-1] in _NO_SUFFIX
