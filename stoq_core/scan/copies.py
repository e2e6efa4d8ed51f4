"""The same bytes in several places: which copy stands for which, and what runs again (semantics 7)."""

from __future__ import annotations

from collections.abc import Callable

from .plugin_facts import PluginIndex
from .tree import Node, locked


class Copies:
    """The rules for one request; `scannable` says whether a node's own meta and limits let it be scanned."""

    def __init__(self, plugins: PluginIndex, passwords: list[str], scannable: Callable[[Node], bool]) -> None:
        """`passwords` are those that the request gives."""
        self._plugins = plugins
        self._given = passwords
        self._scannable = scannable

    def stands_for(self, holder: Node, node: Node) -> bool:
        """False where the first copy is not scanned or kept though this one is to be."""
        theirs, mine = holder.payload.meta, node.payload.meta
        kept = theirs.should_archive or not mine.should_archive
        return kept and (self._scannable(holder) or not self._scannable(node))

    def again_needed(self, node: Node, holder: Node) -> bool:
        """True where the place of the bytes may change what plugins find in them (semantics 7)."""
        if any(one is holder for one in node.ancestry()):
            return False
        if holder.state != "done":
            return node.parent is not holder.parent or self.differs(node, holder)
        return (locked(holder) or self.differs(node, holder)) and bool(self.rerun_names(node, holder))

    def differs(self, node: Node, holder: Node) -> bool:
        """True where name, meta or passwords are others here."""
        mine, theirs = node.payload.meta, holder.payload.meta
        return (
            mine.extra_data != theirs.extra_data
            or mine.dispatch_to != theirs.dispatch_to
            or node.passwords(self._given) != holder.passwords(self._given)
        )

    def rerun_names(self, node: Node, holder: Node) -> list[str]:
        """What would run again for this copy: workers, or else the dispatchers that look at the meta."""
        own = [name for name in node.payload.meta.dispatch_to if name not in holder.journal.finished]
        dispatchers = [one for one in self._plugins.dispatchers if one.reads_meta]
        return [*self.meta_readers(holder), *own] or [one.name for one in dispatchers]

    def meta_readers(self, holder: Node) -> list[str]:
        """The workers that ran and look at name, meta or passwords."""
        ran = {name for names in holder.journal.rounds for name in names}
        return [name for name in sorted(ran) if self._plugins.worker(name).reads_meta]
