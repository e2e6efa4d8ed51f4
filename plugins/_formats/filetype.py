"""What kind of file bytes are, by a table of prefixes first and a library for what is left."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from stoq_core.payload import Payload

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
BROTLI = _kind("application/x-brotli", "brotli", "archive", "br")
_PDF = _kind("application/pdf", "pdf", "document")
_PDF_MARK = re.compile(rb"%PDF-\d\.\d")
FAT = _kind("application/x-mach-binary", "macho", "executable", "")
CLASS = _kind("application/java-vm", "class", "executable")
_INNO = _kind("application/x-inno-setup", "inno", "archive", "")

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
    (b"\x02\x21\x4c\x18", _kind("application/x-lz4", "lz4", "archive")),
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
    (b"sqsh", _kind("application/x-squashfs", "squashfs", "archive")),
    (b"conectix", _kind("application/x-vhd", "vhd", "archive")),
    (b"encrcdsa", _kind("application/x-apple-diskimage", "dmg", "archive")),
    (b"vhdxfile", _kind("application/x-vhdx", "vhdx", "archive")),
    # containers that nothing here opens: to know them is what keeps them from being called clean
    (b"ISSetupStream\0", _kind("application/x-installshield-stream", "isstream", "archive", "")),
    (b"zlb\x1a", _INNO),
    (b"idska32\x1a", _INNO),
    (b"Inno Setup Setup Data (", _INNO),
    (b"LZIP\x01", _kind("application/x-lzip", "lzip", "archive", "lz")),
    (b"\x89LZO\0\r\n\x1a\n", _kind("application/x-lzop", "lzop", "archive", "lzo")),
    (b"BZ3v1", _kind("application/x-bzip3", "bzip3", "archive", "bz3")),
    (b"LRZI\0", _kind("application/x-lrzip", "lrzip", "archive", "lrz")),
    (b"RZIP\x02", _kind("application/x-rzip", "rzip", "archive", "rz")),
    (b"zPQ\x01\x01", _kind("application/x-zpaq", "zpaq", "archive")),
    (b"zPQ\x02\x01", _kind("application/x-zpaq", "zpaq", "archive")),
    (b"ArC\x01\0\0", _kind("application/x-freearc", "freearc", "archive", "arc")),
    (b"ALZ\x01\n\0", _kind("application/x-alz", "alz", "archive")),
    (b"EGGA\0\x01", _kind("application/x-egg", "egg", "archive")),
    (b"SIT!\0", _kind("application/x-stuffit", "stuffit", "archive", "sit")),
    (b"StuffIt (c)", _kind("application/x-stuffit", "stuffit", "archive", "sit")),
    (b"DMS!", _kind("application/x-amiga-dms", "dms", "archive")),
    (b"DOS\0\0\0\0\0", _kind("application/x-amiga-disk", "adf", "archive")),
    (b"SZDD\x88\xf0\x27\x33", _kind("application/x-ms-compress", "szdd", "archive", "")),
    (b"KWAJ\x88\xf0\x27\xd1", _kind("application/x-ms-compress", "kwaj", "archive", "")),
    (b"ISc(", _kind("application/x-installshield-cab", "iscab", "archive", "cab")),
    (b"\x7fELF", _kind("application/x-elf", "elf", "executable", "")),
    (b"\xca\xfe\xba\xbe", FAT),
    (b"\xca\xfe\xba\xbf", FAT),
    (b"\xfe\xed\xfa\xce", _kind("application/x-mach-binary", "macho", "executable", "")),
    (b"\xfe\xed\xfa\xcf", _kind("application/x-mach-binary", "macho", "executable", "")),
    (b"\xce\xfa\xed\xfe", _kind("application/x-mach-binary", "macho", "executable", "")),
    (b"\xcf\xfa\xed\xfe", _kind("application/x-mach-binary", "macho", "executable", "")),
    (b"dex\n", _kind("application/vnd.android.dex", "dex", "executable")),
    (b"\x00asm", _kind("application/wasm", "wasm", "executable")),
    (b"%PDF-", _PDF),
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
    (
        re.compile(rb"\A\s{0,64}\(This file must be converted with BinHex"),
        _kind("application/mac-binhex40", "binhex", "archive", "hqx"),
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


_LAST: dict[str, FileType] = {}


def kind_of(payload: Payload) -> FileType:
    """As `identify`. Dispatchers and workers ask in turn about the same bytes: the last answer is kept."""
    kind = _LAST.get(payload.sha256)
    if kind is None:
        kind = identify(payload.view())
        _LAST.clear()
        _LAST[payload.sha256] = kind
    return kind


def identify(view: memoryview) -> FileType:
    """The type of the bytes, from at most their first 4 KiB (and the tar and ISO marks behind)."""
    if not len(view):
        return EMPTY
    head = bytes(view[:_HEAD_BYTES])
    kind = _by_prefix(head)
    if (kind is None or kind.group == "archive") and bytes(view[-512:-500]) == _KOLY:
        return _DMG  # such an image begins with its first chunk, which may be a bzip2 or xz stream
    if kind is ZIP:
        return _zip_kind(head)
    return kind or _by_offset(head, view) or _late_pdf(head, _by_text(head) or UNKNOWN)


def _late_pdf(head: bytes, kind: FileType) -> FileType:
    """Readers take a PDF whose mark stands anywhere in the first KiB; what is known to be else stays so."""
    return _PDF if kind.label in ("unknown", "txt") and _PDF_MARK.search(head, 0, 1024) else kind


def _by_prefix(head: bytes) -> FileType | None:
    for prefix, kind in _PREFIXES.get(head[:4], ()):
        if head.startswith(prefix):
            # a class's version (45 and up) stands where the other format counts its architectures
            return CLASS if kind is FAT and int.from_bytes(head[4:8], "big") >= 45 else kind
    for prefix, kind in _SHORT:
        if head.startswith(prefix) and _plausible(kind.label, head):
            return kind
    if head[:2] == b"MZ":
        at = int.from_bytes(head[0x3C:0x40], "little") if len(head) >= 64 else 0
        if head[at : at + 4] == b"PE\0\0" or at + 4 > len(head):
            return PE
        return _kind("application/x-dosexec", "mz", "executable", "exe")
    return None


def _plausible(label: str, head: bytes) -> bool:
    """Two bytes alone are no mark: what else the header must hold where nothing longer tells."""
    if label == "arj":  # a main header of a sane size
        return len(head) < 11 or (head[10] == 2 and 30 <= head[4] <= head[2] | head[3] << 8 <= 2600)
    if label == "compress":  # two reserved bits, 9 to 16 bits a code
        return len(head) < 3 or (not head[2] & 0x60 and 9 <= head[2] & 0x1F <= 16)
    return True


def _by_offset(head: bytes, view: memoryview) -> FileType | None:
    if head[_TAR_AT : _TAR_AT + 5] == b"ustar":
        return TAR
    kind = _image_kind(head, view)
    if kind is not None:
        return kind
    if head[:4] == b"RIFF" and len(head) >= 12:
        form = head[8:12]
        if form == b"WEBP":
            return _kind("image/webp", "webp", "image")
        return _kind("audio/wav" if form == b"WAVE" else "video/x-msvideo", "riff", "audio")
    if head[4:8] == b"ftyp":
        return _kind("video/mp4", "mp4", "video")
    return _packed_kind(head) or (TAR if _old_tar(head) else None)


def _packed_kind(head: bytes) -> FileType | None:
    """Archives whose mark stands behind something else."""
    if head[4:20] == b"\xef\xbe\xad\xdeNullsoftInst":
        return _kind("application/x-nsis", "nsis", "archive", "")
    if _INSTALLSHIELD.match(head):
        return _kind("application/x-installshield", "installshield", "archive", "")
    if head[20:24] == b"\xdc\xa7\xc4\xfd":
        return _kind("application/x-zoo", "zoo", "archive")
    if head[8:12] == b"\x19\x04\0\x10" or head[:4] == b"\x7a\x1a\x20\x10":
        return _kind("application/vnd.symbian.install", "sis", "archive")
    if re.match(rb"\x1a[\1-\x09][!-~]{1,12}\0", head):
        return _kind("application/x-arc", "arc", "archive")
    if head[7:14] == b"**ACE**":
        return _kind("application/x-ace-compressed", "ace", "archive")
    if re.match(rb"..-(?:lh[0-9dx]|lz[45s]|pm[0-2s])-.{13}[\0-\3]", head, re.DOTALL):
        return _kind("application/x-lzh-compressed", "lzh", "archive")
    if head[:3] == b"\x5d\x00\x00" and len(head) > 13 and head[12] in (0x00, 0xFF):
        return _kind("application/x-lzma", "lzma", "archive")
    return None


# behind a setup program: a mark, maybe behind a debugger's record; or a file's name, path, version, size
_INSTALLSHIELD = re.compile(
    rb"(?:(?:NB10|RSDS).{1,1000}?)?InstallShield\0|(?:[^\0-\x1f]{1,260}\0){2}\d{1,5}(?:\.\d{1,5}){3}\0\d{1,10}\0",
    re.DOTALL,
)
_KOLY = b"koly\0\0\0\4\0\0\2\0"
_DMG = _kind("application/x-apple-diskimage", "dmg", "archive")
_NTFS = _kind("application/x-ntfs-image", "ntfs", "archive", "img")
_FAT = _kind("application/x-fat-image", "fat", "archive", "img")
_EXFAT = _kind("application/x-exfat-image", "exfat", "archive", "img")
_DISK = _kind("application/x-disk-image", "disk", "archive", "img")
_UDF = _kind("application/x-udf-image", "udf", "archive")
_EXT = _kind("application/x-ext-image", "ext", "archive", "img")
_HFS = _kind("application/x-hfs-image", "hfs", "archive", "img")
_APFS = _kind("application/x-apfs-image", "apfs", "archive", "img")


def _image_kind(head: bytes, view: memoryview) -> FileType | None:
    """Disk images and file systems: marks at fixed offsets, of either end."""
    mark = bytes(view[0x8001:0x8006])
    if mark == b"CD001":
        return _kind("application/x-iso9660-image", "iso", "archive")
    if mark == b"BEA01" and bytes(view[0x8801:0x8804]) == b"NSR":
        return _UDF
    if len(view) >= 512:
        if bytes(view[-512:-508]) == b"koly":
            return _DMG
        if bytes(view[-512:-504]) == b"conectix":
            return _kind("application/x-vhd", "vhd", "archive")
    if head[510:512] == b"\x55\xaa":
        return _boot_kind(head)
    if head[1024:1026] in (b"H+", b"HX") and head[1026:1028] in (b"\0\4", b"\0\5"):
        return _HFS
    if head[1080:1082] == b"\x53\xef" and head[1048:1052] <= b"\x06\0\0\0" and head[1101:1104] == bytes(3):
        return _EXT
    return _APFS if head[32:36] == b"NXSB" else None


def _boot_kind(head: bytes) -> FileType | None:
    """What a boot sector begins: a file system, or a disk with partitions."""
    if head[3:11] == b"NTFS    ":
        return _NTFS
    if head[3:11] == b"EXFAT   ":
        return _EXFAT
    if head[54:59] in (b"FAT12", b"FAT16") or head[82:87] == b"FAT32":
        return _FAT
    if head[512:520] == b"EFI PART":
        return _DISK
    rows = [head[446 + 16 * n : 462 + 16 * n] for n in range(4)]
    used = [row for row in rows if row[4]]
    whole = all(row[0] in (0, 0x80) for row in rows) and all(any(row[12:16]) for row in used)
    return _DISK if used and whole else None


def by_name(kind: FileType, name: str) -> FileType:
    """`kind`, unless nothing but the name tells: brotli has no mark of its own."""
    if kind.label in ("unknown", "txt") and name.lower().endswith(".br"):
        return BROTLI
    return kind


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
    return TEXT if _legible(text) else None


def _legible(text: bytes) -> bool:
    begin = text[:64]  # tells of most of what is none
    return len(begin.translate(None, _BINARY)) == len(begin) and len(text.translate(None, _BINARY)) == len(
        text
    )


def _as_text(head: bytes) -> bytes | None:
    """The text without its byte order mark as UTF-8, or None for what is no text.

    What begins with the mark of UTF-16 may yet be none: property sets of compound files begin so.
    """
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return head.decode("utf-16", "replace").encode("utf-8", "replace")
    body = head.removeprefix(b"\xef\xbb\xbf")
    return body if _legible(body) else None
