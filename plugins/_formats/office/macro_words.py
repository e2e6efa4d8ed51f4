"""Which words of VBA source matter: oletools' tables, searched in linear time, and what they add up to."""

from __future__ import annotations

import contextlib
import io
import re
import warnings
from typing import Any

import msgspec

_DOWNLOAD = re.compile(
    r"URLDownloadToFile|\bXMLHTTP|ServerXMLHTTP|WinHttp(?:Request)?\b|InternetOpenUrl|InternetReadFile|"
    r"Net\.WebClient|DownloadFile\b|DownloadString\b|Invoke-WebRequest|bitsadmin|certutil[^\n]{0,80}urlcache",
    re.IGNORECASE,
)
_PROGRAM = re.compile(
    r"\bShell\b(?!\s*=)|WScript\.Shell|Shell\.Application|ShellExecute|CreateProcess|Win32_Process|powershell|"
    r"\bcmd(?:\.exe)?\s+/[ck]|\bmshta|\brundll32|\bregsvr32|\bMacScript\b",
    re.IGNORECASE,
)
_ALLOCATE = re.compile(r"VirtualAlloc|HeapCreate|NtAllocateVirtualMemory|VirtualProtect", re.IGNORECASE)
_START = re.compile(
    r"CreateThread|CreateRemoteThread|QueueUserAPC|EnumSystem\w{1,40}|CallWindowProc|CreateTimerQueueTimer",
    re.IGNORECASE,
)
_DROP = re.compile(
    r"ADODB\.Stream|SaveToFile|\bOpen\b[^\n]{1,400}\bFor\s+Binary\b[^\n]{0,40}\bWrite\b", re.IGNORECASE
)


class Flags(msgspec.Struct, kw_only=True):
    """What source does; `matches` are the words that say so."""

    autoexec: bool
    write: bool
    execute: bool
    download: bool
    program: bool
    inject: bool
    drop: bool
    matches: list[str]

    @property
    def text(self) -> str:
        """`AWX` with `-` for what is not there."""
        return "".join(
            letter if there else "-"
            for letter, there in (("A", self.autoexec), ("W", self.write), ("X", self.execute))
        )

    @property
    def suspicious(self) -> bool:
        """MacroRaptor's rule: it runs by itself, and writes or executes."""
        return self.autoexec and (self.write or self.execute)


class Words:
    """oletools, imported quietly when it is first needed."""

    _olevba: Any = None
    _mraptor: Any = None

    @classmethod
    def load(cls) -> None:
        """Import; it prints and warns on the way."""
        if cls._mraptor is None:
            with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
                warnings.simplefilter("ignore")
                from oletools import mraptor, olevba
            cls._olevba, cls._mraptor = olevba, mraptor

    @classmethod
    def flags(cls, source: str) -> Flags:
        """What the source does."""
        cls.load()
        raptor = cls._mraptor.MacroRaptor(source)
        raptor.scan()
        extra = {name: one.search(source) for name, one in _EXTRA.items()}
        matches = [*raptor.matches, *(one.group() for one in extra.values() if one)]
        return Flags(
            autoexec=raptor.autoexec, write=raptor.write, execute=raptor.execute,
            download=bool(extra["download"]), program=bool(extra["program"]), drop=bool(extra["drop"]),
            inject=bool(extra["allocate"] and extra["start"]),
            matches=[one.strip()[:200] for one in dict.fromkeys(matches)],
        )  # fmt: skip

    @classmethod
    def keywords(cls, source: str, meant: str) -> list[tuple[str, str, str]]:
        """(`autoexec` or `suspicious`, word, what it means), those of decoded strings marked."""
        cls.load()
        found: dict[tuple[str, str], str] = {}
        for text, where in ((source, ""), (meant, " (in a hidden string)")):
            lower = text.lower()
            for kind, words, patterns in cls._tables():
                for word, means in words:
                    if word.lower() in lower and (hit := _whole(word, text)):
                        found.setdefault((kind, hit), means + where)
                for pattern, means in patterns:
                    match = pattern.search(text)
                    if match:
                        found.setdefault((kind, match.group()[:200]), means + where)
        return [(kind, word, means) for (kind, word), means in found.items()]

    _cached: Any = None

    @classmethod
    def _tables(cls) -> list[tuple[str, list[tuple[str, str]], list[tuple[re.Pattern[str], str]]]]:
        if cls._cached is None:
            vba = cls._olevba
            cls._cached = [
                ("autoexec", _flat(vba.AUTOEXEC_KEYWORDS), _patterns(vba.AUTOEXEC_KEYWORDS_REGEX)),
                ("suspicious", _flat(vba.SUSPICIOUS_KEYWORDS), _patterns(vba.SUSPICIOUS_KEYWORDS_REGEX)),
            ]
        cached: list[tuple[str, list[tuple[str, str]], list[tuple[re.Pattern[str], str]]]] = cls._cached
        return cached


_EXTRA = {"download": _DOWNLOAD, "program": _PROGRAM, "allocate": _ALLOCATE, "start": _START, "drop": _DROP}


def _flat(table: dict[str, tuple[str, ...]]) -> list[tuple[str, str]]:
    return [(word, means) for means, words in table.items() for word in words]


def _patterns(table: dict[str, tuple[str, ...]]) -> list[tuple[re.Pattern[str], str]]:
    return [(re.compile(rf"(?i)\b{word}\b"), means) for means, words in table.items() for word in words]


def _whole(word: str, text: str) -> str | None:
    found = re.search(rf"(?i)\b{re.escape(word)}\b", text)
    return found.group() if found else None
