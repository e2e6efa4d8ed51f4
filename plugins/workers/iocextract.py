"""Collect indicators of compromise: addresses, domains, URLs, mail addresses, hashes, defanged ones too."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import Annotated, Any

import msgspec

from plugins._text.iocs import Suffixes, find
from stoq_core.errors import ConfigError
from stoq_core.job import Job
from stoq_core.limits import MiB
from stoq_core.options import Options, about
from stoq_core.payload import Payload
from stoq_core.plugin import Worker

_RESERVE_MS = 1_000


class IocextractOptions(Options, frozen=True):
    """What to leave out, and how much to read and to keep."""

    allowlist: Annotated[
        tuple[str, ...], about("networks (10.0.0.0/8) and name suffixes (example.com) that are left out")
    ] = ()
    max_bytes: Annotated[int, about("bytes read from the start of the payload", ge=1)] = 16 * MiB
    max_each: Annotated[int, about("distinct indicators of one type that are kept", ge=1)] = 500


class IocEntry(msgspec.Struct, omit_defaults=True, kw_only=True):
    """One value, its first `offset` in bytes, the `context` around it, how often it stands there."""

    value: str
    offset: int
    context: str = ""
    count: int = 1
    defanged: bool = False


class IocextractResult(msgspec.Struct, omit_defaults=True, kw_only=True):
    """Entries by type, in order; `read_bytes` where not all was read, `cut` types over the limit."""

    urls: list[IocEntry] = []
    domains: list[IocEntry] = []
    emails: list[IocEntry] = []
    ipv4: list[IocEntry] = []
    ipv6: list[IocEntry] = []
    md5: list[IocEntry] = []
    sha1: list[IocEntry] = []
    sha256: list[IocEntry] = []
    sha512: list[IocEntry] = []
    macs: list[IocEntry] = []
    read_bytes: int | None = None
    cut: list[str] = []


class Iocextract(Worker[IocextractOptions]):
    """Indicators with offsets; `hxxp`, `[.]`, `(dot)`, `[at]` and the like are read as what they stand for.

    Names are checked against the public suffix list that comes with the library; nothing is looked up.
    It judges nothing, so bytes past `max_bytes` are an error in the result and no reason against `clean`.
    """

    libraries = {"publicsuffixlist": "publicsuffixlist (in requirements.txt)"}
    errors = {
        "option_limit": "the payload is longer than `max_bytes`, or a type has more than `max_each`",
        "timeout": "the time ran out; what was found before is kept",
    }
    essential = False
    result = IocextractResult

    def __init__(self, options: IocextractOptions, name: str) -> None:
        """Read the allow list."""
        super().__init__(options, name)
        self._allow = AllowList(options.allowlist, f"worker.{name}.allowlist")

    def warm(self) -> None:
        """Read the suffix list."""
        Suffixes.load()

    def scan(self, payload: Payload, job: Job) -> Iterator[Any]:
        """Yield one `IocextractResult`; nothing where nothing is found."""
        most = self.options.max_bytes
        found: dict[str, dict[str, IocEntry]] = {}
        cut: set[str] = set()
        for number, one in enumerate(find(payload.head(most), self._allow.lets)):
            if not number % 1_024 and job.deadline.left_ms < _RESERVE_MS:
                job.error("timeout", "there was no time for the rest; what was found so far is here")
                break
            entries = found.setdefault(one.kind, {})
            entry = entries.get(one.value)
            if entry is not None:
                entry.count += 1
                entry.defanged = entry.defanged or one.defanged
            elif len(entries) < self.options.max_each:
                entries[one.value] = IocEntry(
                    value=one.value, offset=one.offset, context=one.context, defanged=one.defanged
                )
            else:
                cut.add(one.kind)
        whole = payload.size <= most
        if not whole:
            job.error("option_limit", "only the start was read", observed=payload.size, allowed=most)
        if cut:
            job.error(
                "option_limit", f"more than are kept: {', '.join(sorted(cut))}", allowed=self.options.max_each
            )
        if found:
            yield IocextractResult(
                **{
                    kind: sorted(entries.values(), key=lambda one: one.offset)
                    for kind, entries in found.items()
                },
                read_bytes=None if whole else most,
                cut=sorted(cut),
            )


class AllowList:
    """What is not reported: addresses in given networks, and names at or below given suffixes."""

    def __init__(self, entries: tuple[str, ...], where: str) -> None:
        """Raises `ConfigError` with `where` for what is neither a network nor a name."""
        self._networks: list[ipaddress.IPv4Network | ipaddress.IPv6Network] = []
        self._suffixes: tuple[str, ...] = ()
        for entry in entries:
            if "/" in entry or ":" in entry or entry.replace(".", "").isdigit():
                try:
                    self._networks.append(ipaddress.ip_network(entry, strict=False))
                except ValueError as error:
                    raise ConfigError(f"{where}: {entry!r} is no network: {error}") from None
            elif entry.strip("*."):
                self._suffixes += (entry.lower().lstrip("*."),)
            else:
                raise ConfigError(f"{where}: {entry!r} is neither a network nor a name")

    def lets(self, kind: str, value: str) -> bool:
        """True for what is to be reported."""
        if not self._networks and not self._suffixes:
            return True
        if kind in ("ipv4", "ipv6"):
            return not self._in_network(value)
        if kind == "urls":
            rest = value.partition("://")[2].replace("?", "/").replace("#", "/").partition("/")[0]
            host = rest.rpartition("@")[2]
            host = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
            return not self._in_network(host) and not self._below(host.lower())
        if kind in ("domains", "emails"):
            return not self._below(value.rpartition("@")[2])
        return True

    def _below(self, name: str) -> bool:
        return any(name == one or name.endswith("." + one) for one in self._suffixes)

    def _in_network(self, value: str) -> bool:
        if not self._networks:
            return False
        try:
            address = ipaddress.ip_address(value)
        except ValueError:
            return False
        return any(address.version == one.version and address in one for one in self._networks)
