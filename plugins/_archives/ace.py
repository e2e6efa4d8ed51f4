"""ACE 1 and 2 through acefile, a bounded decoder in Python; the container image brings it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from stoq_core.errors import Reason
from stoq_core.payload import Payload

from .entry import MAX_NAME_BYTES, BadArchive, Chunks, Entry, Member, WrongPassword

_MOST_PASSWORD_BYTES = 50
"""ACE takes no longer ones."""


def read_ace(payload: Payload) -> Iterator[Entry]:
    """Every member; `plugin_missing` where acefile is not installed."""
    try:
        import acefile
    except ImportError:
        raise BadArchive(
            Reason.PLUGIN_MISSING, "ACE archives need the library acefile (extra: image)"
        ) from None
    try:
        archive = acefile.open(payload.open())
        members = archive.getmembers()
    except Exception as error:  # noqa: BLE001 - struct, index and value errors beside its own
        raise BadArchive(Reason.CORRUPT, f"the archive is damaged: {error}") from None
    for one in members:
        member = Member(
            name=str(one.filename)[:MAX_NAME_BYTES],
            size=int(one.size),
            kind="directory" if one.is_dir() else "file",
            encrypted=bool(one.is_enc()),
            method=("stored", "lz77", "blocked")[one.comptype] if one.comptype < 3 else "unknown",
            modified=one.datetime.strftime("%Y-%m-%dT%H:%M:%SZ"),
        )
        if member.kind == "file":
            yield Entry(member, _opener(archive, one, member))
        else:
            yield Entry(member)


def _opener(archive: Any, one: Any, member: Member) -> Any:
    def opened(passwords: Sequence[str]) -> Chunks:
        if not member.encrypted:
            return _blocks(archive, one, None)
        for password in passwords:
            raw = password.encode("utf-8", "replace")
            if not 0 < len(raw) <= _MOST_PASSWORD_BYTES:
                continue
            try:
                for _ in _blocks(archive, one, raw):
                    pass
            except WrongPassword:
                continue
            member.password = password
            return _blocks(archive, one, raw)
        raise WrongPassword(member.name, len(passwords))

    return opened


def _blocks(archive: Any, one: Any, password: bytes | None) -> Chunks:
    import acefile

    try:
        yield from archive.readblocks(one, pwd=password)
    except acefile.EncryptedArchiveError:
        raise WrongPassword(str(one.filename), 1) from None
    except acefile.UnknownCompressionMethodError as error:
        raise BadArchive(Reason.UNSUPPORTED_METHOD, str(error)) from None
    except acefile.MultiVolumeArchiveError as error:
        raise BadArchive(Reason.TRUNCATED, str(error)) from None
    except (MemoryError, GeneratorExit):
        raise
    except Exception as error:  # noqa: BLE001 - as above
        raise BadArchive(Reason.CORRUPT, f"the member is damaged: {error}") from None
