"""The tree of payloads while a request is scanned: who came out of whom, in which state."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

from stoq_core.body import Body
from stoq_core.errors import Reason, Unread
from stoq_core.payload import Payload
from stoq_core.response import Occurrence, PayloadReport

from .journal import Journal

_MOST_HINTS = 1_000  # all are tried on what is encrypted, and sent with each payload
_ENCRYPTED = frozenset({Reason.ENCRYPTED_ARCHIVE, Reason.ENCRYPTED_DOCUMENT})


class Node:
    """One payload of the tree, or one more occurrence of a payload that is in it already."""

    __slots__ = (
        "children", "dropped", "hints", "holder", "journal", "known", "late", "occurrence", "ordinals",
        "parent", "payload", "pending", "report", "run", "sharers", "state", "tried", "unread", "waited",
        "waiting",
    )  # fmt: skip

    def __init__(self, payload: Payload, parent: Node | None) -> None:
        """A node that waits to be examined."""
        self.payload = payload
        self.parent = parent
        self.children: list[Node] = []
        self.holder: Node | None = None
        self.occurrence: Occurrence | None = None
        self.report: PayloadReport | None = None
        self.journal = UNTOUCHED
        self.state = "queued"
        self.dropped = False
        self.unread: list[Unread] = []
        self.hints: list[str] = []
        self.ordinals: dict[str, int] = {}
        self.known: dict[tuple[str, str], int] = {}
        self.pending = 0
        self.waiting: list[Node] = []
        self.waited = False
        self.run: Any = None
        self.tried: list[str] = []
        self.late: list[Node] = []
        self.sharers = 0

    def part(self) -> None:
        """The tree is not needed any more: without cycles it goes at once, and no collector looks for it."""
        self.parent = self.holder = None
        self.children, self.waiting, self.late = [], [], []

    @property
    def reported(self) -> Node:
        """The node that is reported: this one, or the holder of its bytes."""
        return self.holder or self

    @property
    def name(self) -> str:
        """The file's name, or the start of the id."""
        return self.payload.name or self.payload.payload_id[:8]

    def path(self) -> tuple[str, ...]:
        """Names from this payload up to the root."""
        return tuple(node.name for node in self.ancestry())

    def ancestry(self) -> Iterator[Node]:
        """The node, its parent, and so on up to the root."""
        node: Node | None = self
        while node is not None and node.payload is not NOTHING:
            yield node
            node = node.parent

    def passwords(self, given: list[str]) -> list[str]:
        """The request's passwords, then those hinted at by relatives, nearest first, each once."""
        found = dict.fromkeys(given)
        node = self.parent
        while node is not None:
            if node.hints:
                found.update(dict.fromkeys(node.hints))
            node = node.parent
        return list(found)

    def next_ordinal(self, plugin: str) -> int:
        """The ordinal of this plugin's next child."""
        at = self.ordinals.get(plugin, 0)
        self.ordinals[plugin] = at + 1
        return at


UNTOUCHED = Journal()
"""The journal of everything that was not examined (yet); never written to."""

NOTHING = Payload(Body(b""))
"""The payload of the virtual node above the roots."""


def breadth_first(roots: list[Node]) -> Iterator[Node]:
    """All nodes, level by level, in extraction order."""
    queue = deque(roots)
    while queue:
        node = queue.popleft()
        yield node
        queue.extend(node.children)


def locked(node: Node) -> bool:
    """True where a password would have shown more."""
    unread = node.journal.unread
    return bool(unread) and any(one.reason in _ENCRYPTED for one in unread)


def tell(relatives: Node, password: str) -> None:
    """A hint reaches the emitter's children, siblings and their descendants."""
    if len(relatives.hints) < _MOST_HINTS and password not in relatives.hints:
        relatives.hints.append(password)
