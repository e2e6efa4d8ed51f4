"""Examinations that are begun before their turn, and whether what they found still holds when it comes."""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Callable
from typing import Any

from .examine import Begun, Task
from .executor import Executor
from .tree import Node

_PASS = 3
_MOST_BEGUN = 512
"""What they have found is held until it is their turn."""


class Early:
    """Begins the examinations of what stands in the queue, in its order, as far as the executor has room."""

    def __init__(
        self,
        executor: Executor,
        request: str,
        task_of: Callable[[Node], Task],
        due: Callable[[Node], bool],
    ) -> None:
        """`task_of` makes a node's task as of now; `due` says whether it will be examined at all."""
        self._executor = executor
        self._request = request
        self._task_of = task_of
        self._due = due
        self._fresh: deque[Node] = deque()
        self._begun = self._pass = 0

    def queued(self, node: Node) -> None:
        """A node that may be begun; copies of what is examined already are not."""
        if self._executor.works_ahead and node.holder is None:
            self._fresh.append(node)

    def begin(self, *, surely: bool = False) -> None:
        """Begin what can be begun; where there was no room just now, only each fourth call looks again.

        `surely` looks in any case: there is room.
        """
        if self._pass and not surely:
            self._pass -= 1
            return
        while self._fresh and self._begun < _MOST_BEGUN:
            node = self._fresh[0]
            if node.state == "queued" and self._due(node):
                make = functools.partial(self._task_of, node)
                node.run = self._executor.start_ahead(node.payload, self._request, make)
                if node.run is None:
                    self._pass = _PASS
                    return
                self._begun += 1
            self._fresh.popleft()

    def run_of(self, node: Node, task: Task) -> tuple[Begun | None, bool]:
        """What was begun early of `task`, if it tried the same passwords.

        True with it if it had more to spend than is left now: what goes beyond does not count.
        """
        if node.run is None:
            return None, False
        begun, run = self._taken(node)
        if begun.passwords != task.passwords:
            run.close()
            return None, False
        return run, begun.bytes_left > task.bytes_left or begun.children_left > task.children_left

    def ended(self, node: Node) -> bool:
        """True if its examination has come to its end already."""
        return node.run is not None and bool(node.run[1].ended)

    def drop(self, node: Node) -> None:
        """Nobody wants what was begun."""
        if node.run is not None:
            self._taken(node)[1].close()

    def _taken(self, node: Node) -> Any:
        self._begun -= 1
        run, node.run = node.run, None
        return run
