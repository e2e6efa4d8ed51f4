"""Examinations that are begun before their turn, and whether what they found still holds when it comes."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

from .examine import Task
from .executor import Executor
from .journal import Entry
from .tree import Node


class Early:
    """Begins the examinations of what stands first in the queue, as far as the executor has room."""

    def __init__(
        self, executor: Executor, task_of: Callable[[Node], Task], due: Callable[[Node], bool]
    ) -> None:
        """`task_of` makes a node's task as of now; `due` says whether it will be examined at all."""
        self._executor = executor
        self._task_of = task_of
        self._due = due
        self._window = executor.ahead + 1 if executor.ahead else 0

    def begin(self, queue: Iterator[Node]) -> None:
        """Begin what can be begun."""
        for node in itertools.islice(queue, self._window):
            if node.state == "queued" and node.run is None and node.holder is None and self._due(node):
                task = self._task_of(node)
                run = self._executor.start_ahead(task)
                if run is None:
                    return
                node.run = (task, run)

    def run_of(self, node: Node, task: Task) -> tuple[Iterator[Entry], bool]:
        """The entries of `task`, from the run that was begun early if it tried the same passwords.

        True with them if that run had more to spend than is left now: what goes beyond does not count.
        """
        early, node.run = node.run, None
        if early is None:
            return self._executor.start(task), False
        begun, run = early
        if begun.passwords != task.passwords:
            run.close()
            return self._executor.start(task), False
        return run, begun.bytes_left > task.bytes_left or begun.children_left > task.children_left
