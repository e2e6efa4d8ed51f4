"""Every type that is told has a row in the routes, and every row belongs to a type."""

from __future__ import annotations

from plugins._formats.filetype import labels
from plugins._formats.routes import shipped_routes


def test_every_type_has_a_row() -> None:
    """A type that is named but not routed would be called examined without anybody having been asked."""
    assert set(shipped_routes()) == labels()
