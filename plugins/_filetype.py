"""What kind of file bytes are, by a table of prefixes first and a library for what is left."""

from __future__ import annotations

import re
from typing import NamedTuple

_HEAD_BYTES = 4_096
_TAR_AT = 257


class FileType(NamedTuple):
    """A content type, stoQ's short label for it, the usual extension, its group, and who said so."""

    mimetype: str
    label: str
    extension: str
    group: str
    confidence: float = 1.0


def _kind(mimetype: str, label: str, group: str, extension: str | None = None) -> FileType:
    return FileType(mimetype, label, label if extension is None else extension, group)


EMPTY = _kind("application/x-empty", "empty", "empty", "")
UNKNOWN = FileType("application/octet-stream", "unknown", "", "unknown", 0.0)
TEXT = _kind("text/plain", "txt", "text")
ZIP = _kind("application/zip", "zip", "archive")
TAR = _kind("application/x-tar", "tar", "archive")
PE = _kind("application/vnd.microsoft.portable-executable", "pe", "executable", "exe")
FAT = _kind("application/x-mach-binary", "macho", "executable", "")
CLASS = _kind("application/java-vm", "class", "executable")

# First four bytes → the prefixes to compare in full, longest first.
_PREFIXES: dict[bytes, list[tuple[bytes, FileType]]] = {}
_SHORT: list[tuple[bytes, FileType]] = []


def _add(prefix: bytes, kind: FileType) -> None:
    if len(prefix) < 4:
        _SHORT.append((prefix, kind))
        return
    rows = _PREFIXES.setdefault(prefix[:4], [])
    rows.append((prefix, kind))
    rows.sort(key=lambda row: -len(row[0]))


for _prefix, _type in (
    (b"PK\x03\x04", ZIP),
    (b"PK\x05\x06", ZIP),
    (b"PK\x07\x08", ZIP),
    (b"7z\xbc\xaf\x27\x1c", _kind("application/x-7z-compressed", "7z", "archive")),
    (b"\x1f\x8b", _kind("application/gzip", "gzip", "archive", "gz")),
    (b"BZh", _kind("application/x-bzip2", "bzip2", "archive", "bz2")),
    (b"\xfd7zXZ\x00", _kind("application/x-xz", "xz", "archive")),
    (b"\x28\xb5\x2f\xfd", _kind("application/zstd", "zstd", "archive", "zst")),
    (b"\x04\x22\x4d\x18", _kind("application/x-lz4", "lz4", "archive")),
    (b"\x1f\x9d", _kind("application/x-compress", "compress", "archive", "Z")),
    (b"070701", _kind("application/x-cpio", "cpio", "archive")),
    (b"070702", _kind("application/x-cpio", "cpio", "archive")),
    (b"070707", _kind("application/x-cpio", "cpio", "archive")),
    (b"\xc7\x71", _kind("application/x-cpio", "cpio", "archive")),
    (b"\x71\xc7", _kind("application/x-cpio", "cpio", "archive")),
    (b"!<arch>\ndebian-binary", _kind("application/vnd.debian.binary-package", "deb", "archive")),
    (b"!<arch>\n", _kind("application/x-archive", "ar", "archive", "a")),
    (b"Rar!\x1a\x07", _kind("application/vnd.rar", "rar", "archive")),
    (b"MSCF\x00\x00\x00\x00", _kind("application/vnd.ms-cab-compressed", "cab", "archive")),
    (b"\x60\xea", _kind("application/x-arj", "arj", "archive")),
    (b"xar!", _kind("application/x-xar", "xar", "archive")),
    (b"\xed\xab\xee\xdb", _kind("application/x-rpm", "rpm", "archive")),
    (b"MSWIM\x00\x00\x00", _kind("application/x-ms-wim", "wim", "archive")),
    (b"hsqs", _kind("application/x-squashfs", "squashfs", "archive")),
    (b"conectix", _kind("application/x-vhd", "vhd", "archive")),
    (b"vhdxfile", _kind("application/x-vhdx", "vhdx", "archive")),
    (b"\x7fELF", _kind("application/x-elf", "elf", "executable", "")),
    (b"\xca\xfe\xba\xbe", FAT),
    (b"\xca\xfe\xba\xbf", FAT),
    (b"\xfe\xed\xfa\xce", _kind("application/x-mach-binary", "macho", "executable", "")),
    (b"\xfe\xed\xfa\xcf", _kind("application/x-mach-binary", "macho", "executable", "")),
    (b"\xce\xfa\xed\xfe", _kind("application/x-mach-binary", "macho", "executable", "")),
    (b"\xcf\xfa\xed\xfe", _kind("application/x-mach-binary", "macho", "executable", "")),
    (b"dex\n", _kind("application/vnd.android.dex", "dex", "executable")),
    (b"\x00asm", _kind("application/wasm", "wasm", "executable")),
    (b"%PDF-", _kind("application/pdf", "pdf", "document")),
    (b"{\\rt", _kind("application/rtf", "rtf", "document")),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", _kind("application/x-ole-storage", "ole", "document")),
    (b"\xe4\x52\x5c\x7b\x8c\xd8\xa7\x4d", _kind("application/onenote", "onenote", "document", "one")),
    (b"%!PS", _kind("application/postscript", "ps", "document")),
    (b"ITSF", _kind("application/vnd.ms-htmlhelp", "chm", "document")),
    (b"L\x00\x00\x00\x01\x14\x02\x00", _kind("application/x-ms-shortcut", "lnk", "executable")),
    (b"\x78\x9f\x3e\x22", _kind("application/vnd.ms-tnef", "tnef", "mail", "dat")),
    (b"ActiveMime", _kind("application/x-mso", "activemime", "document", "mso")),
    (b"\x89PNG\r\n\x1a\n", _kind("image/png", "png", "image")),
    (b"\xff\xd8\xff", _kind("image/jpeg", "jpeg", "image", "jpg")),
    (b"GIF87a", _kind("image/gif", "gif", "image")),
    (b"GIF89a", _kind("image/gif", "gif", "image")),
    (b"FWS", _kind("application/x-shockwave-flash", "swf", "executable")),
    (b"CWS", _kind("application/x-shockwave-flash", "swf", "executable")),
    (b"ZWS", _kind("application/x-shockwave-flash", "swf", "executable")),
    (b"SQLite format 3\x00", _kind("application/vnd.sqlite3", "sqlite", "data")),
    (b"ID3", _kind("audio/mpeg", "mp3", "audio")),
    (b"OggS", _kind("audio/ogg", "ogg", "audio")),
    (b"fLaC", _kind("audio/flac", "flac", "audio")),
):
    _add(_prefix, _type)

_ZIP_MEMBERS: tuple[tuple[bytes, FileType], ...] = (
    (
        b"word/",
        _kind("application/vnd.openxmlformats-officedocument.wordprocessingml.document", "docx", "document"),
    ),
    (b"xl/", _kind("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", "xlsx", "document")),
    (
        b"ppt/",
        _kind(
            "application/vnd.openxmlformats-officedocument.presentationml.presentation", "pptx", "document"
        ),
    ),
    (b"AndroidManifest.xml", _kind("application/vnd.android.package-archive", "apk", "executable")),
    (b"META-INF/MANIFEST.MF", _kind("application/java-archive", "jar", "executable")),
)
_TEXT_KINDS: tuple[tuple[re.Pattern[bytes], FileType], ...] = (
    (re.compile(rb"\A\s*<\?php", re.IGNORECASE), _kind("text/x-php", "php", "script")),
    (re.compile(rb"\A#!.{0,60}\b(?:ba|z|da|k)?sh\b"), _kind("text/x-shellscript", "shell", "script", "sh")),
    (re.compile(rb"\A#!.{0,60}python"), _kind("text/x-python", "python", "script", "py")),
    (re.compile(rb"\A#!.{0,60}perl"), _kind("text/x-perl", "perl", "script", "pl")),
    (
        re.compile(rb"\A\s{0,64}(?:<!doctype\s+html|<html|<head|<body|<script)", re.IGNORECASE),
        _kind("text/html", "html", "text"),
    ),
    (re.compile(rb"\A\s{0,64}<svg[\s>]", re.IGNORECASE), _kind("image/svg+xml", "svg", "image")),
    (
        re.compile(rb"\A\s{0,64}<[?!A-Za-z][^\0]{0,3900}?ns\.adobe\.com/xdp/"),
        _kind("application/vnd.adobe.xdp+xml", "xdp", "document"),
    ),
    (re.compile(rb"\A\s{0,64}<\?xml"), _kind("text/xml", "xml", "text")),
    (re.compile(rb"\A\s{0,64}[\[{]\s*[\"\[{\]}0-9]"), _kind("application/json", "json", "text")),
    (
        re.compile(
            rb"\AFrom \S{1,320} {1,3}[A-Z][a-z]{2} {1,3}[A-Z][a-z]{2} [^\r\n]{1,60}\r?\n[A-Za-z0-9-]{1,76}:"
        ),
        _kind("application/mbox", "mbox", "mail"),
    ),
    (
        re.compile(
            rb"\A(?:[A-Za-z][A-Za-z0-9-]{1,40}: [^\r\n]{0,990}\r?\n(?:[ \t][^\r\n]{0,990}\r?\n){0,20}){2}"
        ),
        _kind("message/rfc822", "eml", "mail"),
    ),
)  # fmt: skip
_MAIL_HEADER = re.compile(
    rb"^(?:Received|Return-Path|From|To|Subject|Message-ID|MIME-Version|Date):", re.IGNORECASE | re.MULTILINE
)
_BINARY = bytes(set(range(32)) - {7, 8, 9, 10, 11, 12, 13, 27})


def identify(view: memoryview) -> FileType:
    """The type of the bytes, from at most their first 4 KiB (and the tar and ISO marks behind)."""
    if not len(view):
        return EMPTY
    head = bytes(view[:_HEAD_BYTES])
    kind = _by_prefix(head)
    if kind is ZIP:
        return _zip_kind(head)
    return kind or _by_offset(head, view) or _by_text(head) or UNKNOWN


def _by_prefix(head: bytes) -> FileType | None:
    for prefix, kind in _PREFIXES.get(head[:4], ()):
        if head.startswith(prefix):
            # a class's version (45 and up) stands where the other format counts its architectures
            return CLASS if kind is FAT and int.from_bytes(head[4:8], "big") >= 45 else kind
    for prefix, kind in _SHORT:
        if head.startswith(prefix):
            return kind
    if head[:2] == b"MZ":
        at = int.from_bytes(head[0x3C:0x40], "little") if len(head) >= 64 else 0
        if head[at : at + 4] == b"PE\0\0" or at + 4 > len(head):
            return PE
        return _kind("application/x-dosexec", "mz", "executable", "exe")
    return None


def _by_offset(head: bytes, view: memoryview) -> FileType | None:  # noqa: C901 - a flat list of marks
    if head[_TAR_AT : _TAR_AT + 5] == b"ustar":
        return TAR
    if len(view) > 0x8006 and bytes(view[0x8001:0x8006]) == b"CD001":
        return _kind("application/x-iso9660-image", "iso", "archive")
    if len(view) >= 512 and bytes(view[-512:-508]) == b"koly":
        return _kind("application/x-apple-diskimage", "dmg", "archive")
    if head[:4] == b"RIFF" and len(head) >= 12:
        form = head[8:12]
        if form == b"WEBP":
            return _kind("image/webp", "webp", "image")
        return _kind("audio/wav" if form == b"WAVE" else "video/x-msvideo", "riff", "audio")
    if head[4:8] == b"ftyp":
        return _kind("video/mp4", "mp4", "video")
    if head[7:14] == b"**ACE**":
        return _kind("application/x-ace-compressed", "ace", "archive")
    if head[2:5] == b"-lh" and head[6:7] == b"-":
        return _kind("application/x-lzh-compressed", "lzh", "archive")
    if head[:3] == b"\x5d\x00\x00" and len(head) > 13 and head[12] in (0x00, 0xFF):
        return _kind("application/x-lzma", "lzma", "archive")
    if _old_tar(head):
        return TAR
    return None


def _old_tar(head: bytes) -> bool:
    """A tar without `ustar`: the checksum of the first header must hold (V7 layout)."""
    if len(head) < 512 or not head[0]:
        return False
    try:
        claimed = int(head[148:156].strip(b" \0"), 8)
    except ValueError:
        return False
    return claimed == sum(head[:148]) + 8 * 32 + sum(head[156:512])


def _zip_kind(head: bytes) -> FileType:
    """Documents and packages are zips: told by the first members' names and the mimetype member."""
    if head[30:38] == b"mimetype":
        found = re.match(rb"application/[a-z0-9.+-]{3,80}", head[38:])
        if found:
            name = found.group().decode("ascii")
            label = "epub" if "epub" in name else "odf"
            return _kind(name, label, "document")
    for member, kind in _ZIP_MEMBERS:
        if member in head:
            return kind
    if b"[Content_Types].xml" in head:
        return _kind("application/vnd.openxmlformats-officedocument", "ooxml", "document", "zip")
    return ZIP


def _by_text(head: bytes) -> FileType | None:
    text = _as_text(head)
    if text is None:
        return None
    for pattern, kind in _TEXT_KINDS:
        if pattern.match(text) and (kind.label != "eml" or _MAIL_HEADER.search(text)):
            return kind
    return TEXT


def _as_text(head: bytes) -> bytes | None:
    """The text without its byte order mark as UTF-8, or None for what is no text."""
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return head.decode("utf-16", "replace").encode("utf-8", "replace")
    body = head.removeprefix(b"\xef\xbb\xbf")
    return None if len(body.translate(None, _BINARY)) != len(body) else body
