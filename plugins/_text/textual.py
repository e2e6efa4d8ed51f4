"""Whether bytes are text, and the text as UTF-8 without its mark, whatever Unicode form it came in."""

from __future__ import annotations

from collections.abc import Iterator

from stoq_core.limits import KiB, MiB

MAX_BLOCK_BYTES = 16 * MiB
_SAMPLE_BYTES = 4 * KiB
_CUT_WITHIN = 64 * KiB
_CONTROL = bytes(set(range(1, 32)) - {7, 8, 9, 10, 11, 12, 13, 26, 27}) + b"\x7f"
_MAX_CONTROL_SHARE = 0.05
_MAX_NUL_SHARE = 0.3
_MARKS = (
    (b"\xff\xfe\0\0", "utf-32-le"),
    (b"\0\0\xfe\xff", "utf-32-be"),
    (b"\xef\xbb\xbf", "utf-8"),
    (b"\xff\xfe", "utf-16-le"),
    (b"\xfe\xff", "utf-16-be"),
)
_WIDE = (("utf-32-le", 4, 0), ("utf-32-be", 4, 3), ("utf-16-le", 2, 0), ("utf-16-be", 2, 1))


def charset_of(view: memoryview) -> str | None:
    """The Unicode form of a text (`utf-8` for all that have one byte a letter), or None for no text.

    Told by the mark, else by where the zeros stand, from samples of the start, the middle and the end.
    """
    head = bytes(view[:_SAMPLE_BYTES])
    for mark, charset in _MARKS:
        if head.startswith(mark) and (charset == "utf-8" or _is_wide(head[len(mark) :], charset)):
            return charset
    if b"\0" in head:
        for charset, _, _ in _WIDE:
            if _is_wide(head, charset):
                return charset
    middle = len(view) // 2 & ~3
    samples = [head, bytes(view[middle : middle + _SAMPLE_BYTES]), bytes(view[-_SAMPLE_BYTES:])]
    return "utf-8" if len(view) and all(_is_narrow(sample) for sample in samples) else None


def text_of(view: memoryview, charset: str) -> bytes:
    """The text as UTF-8 without its mark, by what `charset_of` says of it; what is no letter is left out."""
    if charset == "utf-8":
        return bytes(view).removeprefix(b"\xef\xbb\xbf")
    return str(view, charset, "ignore").removeprefix("\ufeff").encode("utf-8", "ignore")


def blocks_of(text: bytes) -> list[tuple[int, bytes]]:
    """The text in pieces of at most 16 MiB with their offsets, cut at line ends where there are any."""
    if len(text) <= MAX_BLOCK_BYTES:
        return [(0, text)]
    blocks, at = [], 0
    while at < len(text):
        end = min(at + MAX_BLOCK_BYTES, len(text))
        if end < len(text):
            line = text.rfind(b"\n", end - _CUT_WITHIN, end)
            end = line + 1 if line >= 0 else end
        blocks.append((at, text[at:end]))
        at = end
    return blocks


def pieces_of(view: memoryview) -> Iterator[tuple[int, bytes]]:
    """Bytes that are no text in pieces of at most 16 MiB, with their offsets."""
    for at in range(0, len(view), MAX_BLOCK_BYTES):
        yield at, bytes(view[at : at + MAX_BLOCK_BYTES])


def _is_wide(sample: bytes, charset: str) -> bool:
    """Most units are letters below U+0100 with zeros around, and hardly any is a control letter."""
    width, low = next((width, low) for name, width, low in _WIDE if name == charset)
    sample = sample[: len(sample) // width * width]
    units = len(sample) // width
    if units < 4:
        return False
    letters = sample[low::width]
    zeros = [sample[at::width].count(0) for at in range(width) if at != low]
    printable = units - len(letters) + len(letters.translate(None, _CONTROL + b"\0"))
    # half of the letters may be of other alphabets, whose upper bytes are no zeros
    return min(zeros) * 2 >= units and printable * 20 >= units * 19


def _is_narrow(sample: bytes) -> bool:
    size = len(sample)
    control = size - len(sample.translate(None, _CONTROL))
    return control <= size * _MAX_CONTROL_SHARE and sample.count(0) <= size * _MAX_NUL_SHARE
