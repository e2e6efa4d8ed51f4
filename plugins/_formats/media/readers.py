"""All readers of media by their label."""

from __future__ import annotations

from plugins._formats.archives.declare import Format

from . import boxes, chunks, fonts, gif, images, jpeg, matroska, packets, png, sound

FORMATS: dict[str, Format] = {
    declared.label: declared
    for module in (boxes, chunks, fonts, gif, images, jpeg, matroska, packets, png, sound)
    for declared in module.FORMATS
}
"""Every format by its label."""
