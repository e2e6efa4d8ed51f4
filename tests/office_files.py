"""Build Office files for tests: compound files, VBA projects, packages, RTF objects; all harmless."""

from __future__ import annotations

import struct
import zipfile
from io import BytesIO

_END, _FREE, _FATSECT, _NONE = 0xFFFFFFFE, 0xFFFFFFFF, 0xFFFFFFFD, 0xFFFFFFFF


def compound(streams: dict[str, bytes], *, orphan: tuple[str, bytes] | None = None) -> bytes:
    """A compound file (MS-CFB, 512-byte sectors) of streams by path; `orphan` is in no storage."""
    rows: list[dict[str, object]] = [{"name": "Root Entry", "kind": 5, "child": _NONE, "data": b""}]
    folders: dict[str, int] = {"": 0}
    siblings: dict[int, list[int]] = {0: []}

    def add(name: str, kind: int, parent: int | None, data: bytes = b"") -> int:
        rows.append({"name": name, "kind": kind, "child": _NONE, "data": data, "right": _NONE})
        sid = len(rows) - 1
        if parent is not None:
            siblings[parent].append(sid)
        return sid

    for path, data in streams.items():
        *above, name = path.split("/")
        parent, so_far = 0, ""
        for folder in above:
            so_far += folder + "/"
            if so_far not in folders:
                folders[so_far] = add(folder, 1, parent)
                siblings[folders[so_far]] = []
            parent = folders[so_far]
        add(name, 2, parent, data)
    if orphan:
        add(orphan[0], 2, None, orphan[1])
    for parent, sids in siblings.items():
        rows[parent]["child"] = sids[0] if sids else _NONE
        for one, following in zip(sids, [*sids[1:], _NONE], strict=True):
            rows[one]["right"] = following
    return _written(rows)


def _written(rows: list[dict[str, object]]) -> bytes:
    mini, mini_fat, sectors, fat = bytearray(), [], bytearray(), []

    def chain(data: bytes) -> int:
        if not data:
            return _END
        start, count = len(fat), -(-len(data) // 512)
        fat.extend([*range(start + 1, start + count), _END])
        sectors.extend(data.ljust(count * 512, b"\0"))
        return start

    for row in rows[1:]:
        data = row["data"]
        assert isinstance(data, bytes)
        if data and len(data) < 4096:
            start, count = len(mini_fat), -(-len(data) // 64)
            mini_fat.extend([*range(start + 1, start + count), _END])
            mini.extend(data.ljust(count * 64, b"\0"))
            row["start"] = start
        else:
            row["start"] = chain(data)
    rows[0].update(start=chain(bytes(mini)), data=bytes(mini), right=_NONE)
    mini_start = chain(struct.pack(f"<{len(mini_fat)}I", *mini_fat))
    directory = b"".join(_row(one) for one in rows)
    directory_start = chain(directory + _row({"name": "", "kind": 0}) * (-len(rows) % 4))
    fat_sectors = 1
    while (len(fat) + fat_sectors) > fat_sectors * 128:
        fat_sectors += 1
    first = len(fat)
    fat.extend([_FATSECT] * fat_sectors)
    table = struct.pack(f"<{len(fat)}I", *fat).ljust(fat_sectors * 512, b"\xff")
    header = struct.pack(
        "<8s16sHHHHHHLLLLLLLLLL", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", bytes(16), 0x3E, 3, 0xFFFE, 9, 6, 0, 0, 0,
        fat_sectors, directory_start, 0, 4096, mini_start, -(-len(mini_fat) // 128), _END, 0,
    )  # fmt: skip
    numbers = [first + n for n in range(fat_sectors)]
    header += struct.pack("<109I", *numbers, *[_FREE] * (109 - fat_sectors))
    return header + bytes(sectors) + table


def _row(row: dict[str, object]) -> bytes:
    name = str(row["name"]).encode("utf-16-le")
    data = row.get("data", b"")
    assert isinstance(data, bytes)
    return struct.pack(
        "<64sHBBIII16sIQQIQ", name, len(name) + 2 if name else 0, row["kind"], 1, _NONE,
        row.get("right", _NONE), row.get("child", _NONE), bytes(16), 0, 0, 0, row.get("start", 0), len(data),
    )  # fmt: skip


def vba_compressed(source: bytes) -> bytes:
    """Source as a CompressedContainer (MS-OVBA 2.4.1) of literals alone."""
    made = b"\x01"
    for at in range(0, len(source), 3_600):
        piece = source[at : at + 3_600]
        tokens = b"".join(b"\0" + piece[n : n + 8] for n in range(0, len(piece), 8))
        made += struct.pack("<H", 0xB000 | len(tokens) - 1) + tokens
    return made


def vba_project(modules: dict[str, str], root: str = "Macros") -> dict[str, bytes]:
    """The streams of a VBA project with these modules, for `compound`."""

    def record(kind: int, data: bytes) -> bytes:
        return struct.pack("<HI", kind, len(data)) + data

    rows = (
        record(1, b"\1\0\0\0") + record(2, b"\x09\4\0\0") + record(0x14, b"\x09\4\0\0") + record(3, b"\xe4\4")
    )
    rows += record(4, b"VBAProject") + record(5, b"") + record(0x40, b"") + record(6, b"") + record(0x3D, b"")
    rows += record(7, bytes(4)) + record(8, bytes(4)) + struct.pack("<HI", 9, 4) + bytes(6)
    rows += (
        record(0x0C, b"")
        + record(0x3C, b"")
        + record(0x0F, struct.pack("<H", len(modules)))
        + record(0x13, b"\xff\xff")
    )
    streams = {}
    for name, source in modules.items():
        wide = name.encode("utf-16-le")
        rows += (
            record(0x19, name.encode())
            + record(0x47, wide)
            + record(0x1A, name.encode())
            + record(0x32, wide)
        )
        rows += (
            record(0x1C, b"")
            + record(0x48, b"")
            + record(0x31, struct.pack("<I", 16))
            + record(0x1E, bytes(4))
        )
        rows += record(0x2C, b"\xff\xff") + record(0x21, b"") + record(0x2B, b"")
        text = f'Attribute VB_Name = "{name}"\r\n{source}'.encode("cp1252")
        streams[f"{root}/VBA/{name}"] = bytes(16) + vba_compressed(text)
    rows += record(0x10, b"")
    names = "".join(f"Module={one}\r\n" for one in modules)
    return {
        f"{root}/PROJECT": names.encode(), f"{root}/VBA/_VBA_PROJECT": b"\xcc\x61" + bytes(5),
        f"{root}/VBA/dir": vba_compressed(rows), **streams,
    }  # fmt: skip


def document(modules: dict[str, str]) -> bytes:
    """A Word 97 document, near enough, with these macros."""
    return compound({"WordDocument": b"\xec\xa5\xc1\0" + bytes(4200), **vba_project(modules)})


def package(name: str, content: bytes) -> bytes:
    """A Packager object: labels, paths, and the file's bytes."""
    label = name.encode("cp1252", "replace")
    path = b"C:\\Users\\a\\" + label
    made = struct.pack("<H", 2) + label + b"\0" + path + b"\0" + struct.pack("<HH", 0, 3)
    made += struct.pack("<I", len(path) + 1) + path + b"\0" + struct.pack("<I", len(content)) + content
    for one in (path, label, path):
        wide = one.decode("cp1252").encode("utf-16-le")
        made += struct.pack("<I", len(wide) // 2) + wide
    return made


def ole10_native(name: str, content: bytes) -> bytes:
    r"""An `\1Ole10Native` stream."""
    made = package(name, content)
    return struct.pack("<I", len(made)) + made


def ole1_object(class_name: bytes, content: bytes, kind: int = 2) -> bytes:
    """An OLE 1.0 object as RTF holds it."""
    head = struct.pack("<II", 0x501, kind) + struct.pack("<I", len(class_name) + 1) + class_name + b"\0"
    return head + bytes(8) + struct.pack("<I", len(content)) + content


def rtf(*objects: bytes, words: bytes = b"\\objemb") -> bytes:
    """An RTF document with these objects."""
    inner = b"".join(b"{\\object" + words + b"{\\*\\objdata " + one.hex().encode() + b"}}" for one in objects)
    return b"{\\rtf1\\ansi text " + inner + b"\\par}"


def ooxml(**members: bytes) -> bytes:
    """An OOXML package; `word__x` becomes the member `word/x`."""
    out = BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("[Content_Types].xml", "<Types/>")
        for name, content in members.items():
            made.writestr(name.replace("__", "/").replace("_bin", ".bin"), content)
    return out.getvalue()
