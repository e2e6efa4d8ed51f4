"""Draw the tree's rooms and arrows into docs/architecture.md, from the imports themselves."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "architecture.md"
PACKAGES = ("stoq_core", "handlers", "plugins")
_BETWEEN = re.compile(r"(<!-- rooms -->\n).*?(<!-- /rooms -->)", re.DOTALL)
_KINDS = {"workers", "dispatchers", "decorators", "connectors", "archivers", "providers"}


def room_of(module: str) -> str:
    """The folder that a module stands in; six kinds of plugins are one room, a cloud's handlers another."""
    parts = module.split(".")
    if parts[0] == "plugins" and len(parts) > 1:
        return "plugins" if parts[1] in _KINDS else f"plugins/{parts[1]}"
    if parts[0] == "stoq_core":
        return f"stoq_core/{parts[1]}" if parts[1:] and parts[1] in ("scan", "sandbox") else "stoq_core"
    return (
        f"handlers/{parts[1]}" if parts[1:2] and parts[1] in ("aws", "gcp", "azure", "local") else "handlers"
    )


def arrows(graph: Any) -> set[tuple[str, str]]:
    """From each room to those that it imports from."""
    found: set[tuple[str, str]] = set()
    for module in sorted(graph.modules):
        for imported in graph.find_modules_directly_imported_by(module):
            pair = room_of(module), room_of(imported)
            if pair[0] != pair[1]:
                found.add(pair)
    return found


def picture(found: set[tuple[str, str]]) -> str:
    """Numbers, and a Mermaid chart from above to below."""
    rooms = sorted({room for pair in found for room in pair})
    name = {room: re.sub(r"\W", "_", room) for room in rooms}
    lines = [f"{len(rooms)} rooms, {len(found)} arrows.", "", "```mermaid", "flowchart TD"]
    lines += [f'  {name[room]}["{room}"]' for room in rooms]
    lines += [f"  {name[above]} --> {name[below]}" for above, below in sorted(found)]
    return "\n".join([*lines, "```"]) + "\n"


def main() -> None:
    """Write the page's picture; `--check` only says whether it is up to date."""
    import grimp

    made = picture(arrows(grimp.build_graph(*PACKAGES, cache_dir=None)))
    text = PAGE.read_text("utf-8")
    new = _BETWEEN.sub(lambda found: f"{found[1]}{made}{found[2]}", text)
    if new != text and "--check" in sys.argv[1:]:
        raise SystemExit(f"{PAGE.relative_to(ROOT)}: the rooms have changed; run `make rooms`")
    PAGE.write_text(new, "utf-8")


if __name__ == "__main__":
    main()
