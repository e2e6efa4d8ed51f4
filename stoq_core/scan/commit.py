"""What an examination yields is committed as it comes: children enter the tree, hints reach relatives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from stoq_core.job import Child, Hint

from .examine import Task
from .journal import Listener
from .tree import Node, tell


class TooMuchError(Exception):
    """What was begun early had more to spend than is left now, and would spend it."""


class Taking(Listener):
    """Hears of one node's examination."""

    __slots__ = ("_begin", "_bytes", "_child", "_children", "_loose", "_node", "_relatives", "_skip", "_task")

    def __init__(
        self,
        node: Node,
        relatives: Node,
        task: Task,
        child: Callable[[Node, str, Child], None],
        begin: Callable[..., None],
        *,
        loose: bool = False,
    ) -> None:
        """`child` commits one, and `begin` begins what can be begun; hints are for `relatives`' others.

        A `loose` examination may yield more than the task has left: `TooMuchError` where it does.
        """
        self._node = node
        self._relatives = relatives
        self._task = task
        self._child = child
        self._begin = begin
        self._loose = loose
        self._bytes = self._children = self._skip = 0

    def again(self) -> Taking:
        """For the same examination from its beginning, past the children that were taken already."""
        one = Taking(self._node, self._relatives, self._task, self._child, self._begin)
        one._skip = self._children
        return one

    def emit(self, plugin: str, emit: Any) -> None:
        """See `Listener`; raises `TooMuchError`."""
        kind = type(emit)
        if kind is Child:
            if self._skip:
                self._skip -= 1
            else:
                self._take(plugin, emit)
        elif kind is Hint:
            tell(self._relatives, emit.value)

    def _take(self, plugin: str, child: Child) -> None:
        taken, children = self._bytes + child.body.size, self._children + 1
        if self._loose and (taken >= self._task.bytes_left or children >= self._task.children_left):
            raise TooMuchError
        self._bytes, self._children = taken, children
        self._child(self._node, plugin, child)
        self._begin()

    def pause(self) -> None:
        """See `Listener`."""
        self._begin(surely=True)
