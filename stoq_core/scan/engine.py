"""The whole tree: examine each payload, take in what came out of it, and report it all in order."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable
from pathlib import Path

import msgspec

from stoq_core.body import Body, spill
from stoq_core.errors import Reason, StoqError, Unread
from stoq_core.job import Child
from stoq_core.limits import Deadline, RequestLimits
from stoq_core.payload import Payload, Request, child_id, root_id
from stoq_core.response import Occurrence, PayloadReport

from .commit import Taking, TooMuchError
from .copies import Copies
from .examine import Task
from .executor import Executor
from .floor import Floor
from .plugin_facts import PluginIndex
from .prefetch import Early
from .report import Book, Scanned, why_skipped
from .tree import NOTHING, Node, breadth_first, locked
from .validation import checked_meta

Examined = Callable[[PayloadReport, Payload], None]
"""Called with each payload as soon as it is examined, before its bytes are released."""


_SCANS = itertools.count()  # a request that is delivered twice at the same time is two for the executor


class Engine:
    """Scans one request. All that must be deterministic happens here, in tree order."""

    def __init__(
        self,
        plugins: PluginIndex,
        executor: Executor,
        limits: RequestLimits,
        *,
        dedup: bool = True,
        scratch: Path | None = None,
        floor: Floor | None = None,
    ) -> None:
        """`floor` says what each payload must have had; without one nothing is asked for.

        `scratch` is a folder on a real disk for bytes that do not fit into memory, or None.
        """
        self._plugins = plugins
        self._executor = executor
        self._limits = limits
        self._dedup = dedup
        self._scratch = scratch
        self._floor = floor
        # room for the child that is being written while others wait
        self._drain_at = max(limits.held_bytes - limits.payload_bytes, limits.held_bytes // 4)

    def scan(self, request: Request, deadline: Deadline, examined: Examined | None = None) -> Scanned:
        """Take the request apart until nothing is left, or a limit or the deadline says stop."""
        owner = f"{request.scan_id}#{next(_SCANS)}"
        try:
            return _Scan(self, request, owner, deadline, examined).run()
        finally:
            self._executor.rest(owner)


class _Scan:
    """The state of one request."""

    def __init__(
        self, engine: Engine, request: Request, owner: str, deadline: Deadline, examined: Examined | None
    ) -> None:
        self.limits = engine._limits  # noqa: SLF001 - the engine's other half
        self.plugins = engine._plugins  # noqa: SLF001
        self.executor = engine._executor  # noqa: SLF001
        self.dedup = engine._dedup  # noqa: SLF001
        self.scratch = engine._scratch  # noqa: SLF001
        self.floor = engine._floor  # noqa: SLF001
        self.drain_at = engine._drain_at  # noqa: SLF001
        self.request = request
        self.owner = owner
        self.deadline = deadline
        self.examined = examined
        self.top = Node(NOTHING, None)
        self.top.state = "done"
        self.queue: deque[Node] = deque()
        self.by_digest: dict[str, Node] = {}
        self.book = Book(self.limits)
        self.early = Early(self.executor, owner, self._task, self._due)
        self.copies = Copies(self.plugins, request.passwords, self._scannable)
        self.bytes_left = self.limits.extracted_bytes
        self.payloads_left = self.limits.payloads
        self.held = 0

    def run(self) -> Scanned:
        for ordinal, payload in enumerate(self.request.payloads):
            self._root(ordinal, payload)
        while self.queue:
            self.early.begin()
            self._process(self.queue.popleft())
        nodes = [*breadth_first(self.top.children)]
        reports = [node.report for node in nodes if node.report is not None]
        for node in (self.top, *nodes):
            node.part()
        del self.early, self.copies  # they lead back here: the request would stay until a collector comes
        return self.book.closed(reports)

    # -- taking in --------------------------------------------------------------------------------

    def _root(self, ordinal: int, payload: Payload) -> None:
        meta = checked_meta(payload.meta)  # whoever calls the library may put anything into it
        root = Payload(payload.body, meta, payload_id=root_id(self.request.scan_id, ordinal))
        if self.payloads_left <= 0:
            self.book.unread.append(
                Unread(reason=Reason.TOO_MANY_PAYLOADS, message=f"root {ordinal} was not taken")
            )
            return
        self.payloads_left -= 1
        self._enter(Node(root, self.top), root.sha256)

    def _child(self, parent: Node, plugin: str, child: Child) -> None:
        """Commit one child: identity, dedup, depth and budgets are decided here, in tree order."""
        body: Body = child.body
        digest = body.sha256
        at = (plugin, digest)
        if parent.waited and parent.known.get(at, 0) > 0:
            parent.known[at] -= 1  # it came out already, before the passwords were known
            return
        if digest == parent.reported.payload.sha256:
            return  # a payload is never its own parent
        if self.payloads_left <= 0 or body.size > self.bytes_left:
            reason = Reason.TOO_MANY_PAYLOADS if self.payloads_left <= 0 else Reason.TOO_MANY_BYTES
            self.book.mark(parent, reason, plugin, "a child was not taken; see [limits]")
            return
        self.payloads_left -= 1
        self.bytes_left -= body.size
        if not parent.waited:
            parent.known[at] = parent.known.get(at, 0) + 1
        above = parent.reported
        ordinal = above.next_ordinal(plugin)
        payload = Payload(
            self._placed(body, parent),
            child.meta,
            payload_id=child_id(above.payload.payload_id, plugin, ordinal),
            depth=parent.payload.depth + 1,
            extracted_from=above.payload.payload_id,
            extracted_by=plugin,
        )
        node = Node(payload, parent)
        node.dropped = body.size > 0 and payload.body.released
        self._enter(node, digest)
        if child.truncated is not None:
            self.book.mark(node, child.truncated, plugin, f"it was cut off after {body.size} bytes")
        if self.held > self.drain_at:
            self._drain(parent)

    def _enter(self, node: Node, digest: str) -> Node:
        """Put a node into the tree and the queue; the second of the same bytes becomes an occurrence."""
        parent = node.parent or self.top
        parent.children.append(node)
        parent.pending += 1
        holder = self.by_digest.get(digest) if self.dedup else None
        if holder is None or not self.copies.stands_for(holder, node):
            self.by_digest[digest] = node
            self.held += _held(node.payload.body)
            self.queue.append(node)
            self.early.queued(node)
            return node
        payload = node.payload
        node.holder = holder
        node.occurrence = Occurrence(
            extracted_from=payload.extracted_from,
            extracted_by=payload.extracted_by,
            payload_meta=payload.meta,
            payload_id=payload.payload_id,
        )
        if not self.copies.again_needed(node, holder):
            if payload.body is not holder.payload.body:
                self.held += _held(payload.body)  # given back at once
            self._finish(node)
            return node
        if holder.state != "done":
            payload.body = holder.payload.body  # the same bytes are held once
            holder.sharers += 1
        else:
            self.held += _held(payload.body)
        self.queue.append(node)
        return node

    def _placed(self, body: Body, parent: Node) -> Body:
        """The body where it fits: in memory, else on disk, else released at once."""
        if body.on_disk or self.held + body.size <= self.limits.held_bytes:
            return body
        self._drain(parent)
        if self.held + body.size <= self.limits.held_bytes:
            return body
        if self.scratch is not None:
            return spill(body, self.scratch)
        body.release()  # its size and digest are reported
        return body

    # -- examining --------------------------------------------------------------------------------

    def _drain(self, parent: Node) -> None:
        """Examine what waits below `parent` now, so that its bytes can go (semantics 11)."""
        for node in list(parent.children):
            if node.state == "queued":
                self._process(node)
            if self.held > self.drain_at:
                self._drain(node)

    def _scannable(self, node: Node) -> bool:
        payload, limits = node.payload, self.limits
        small_enough = payload.depth <= limits.depth and payload.size <= limits.payload_bytes
        return payload.meta.should_scan and small_enough and not node.dropped

    def _due(self, node: Node) -> bool:
        return self._scannable(node) and not self.deadline.expired

    def _process(self, node: Node) -> None:
        if node.state != "queued":
            return
        node.state = "running"
        if node.holder is None and not self._due(node) and not self.early.ended(node):
            self._skip(node)
            return
        task = self._task(node) if node.holder is None else self._task_again(node, node.holder)
        if task is not None:
            self._examine(node, task)
        if self._should_wait(node):
            parent = node.parent or self.top
            node.state = "waiting"
            parent.waiting.append(node)
            self._wake(parent)
            return
        self._finish(node)

    def _examine(self, node: Node, task: Task) -> None:
        """Run the task and commit what it yields; what was begun early counts only if it still holds."""
        node.tried = task.passwords
        run, loose = self.early.run_of(node, task)
        taking = self._taking(node, task, loose=loose)
        if run is None:
            node.journal = self.executor.run(task, taking)
        else:
            try:
                node.journal = run.finish(taking)
            except TooMuchError:
                run.close()
                node.journal = self.executor.run(task, taking.again())
        self._broker_round(node, task)
        if self.floor is not None:
            node.journal.unread += self.floor.lacks(task, node.journal)

    def _taking(self, node: Node, task: Task, *, loose: bool = False) -> Taking:
        return Taking(node, node.parent or self.top, task, self._child, self.early.begin, loose=loose)

    def _broker_round(self, node: Node, task: Task) -> None:
        names = self._broker_names(node)
        if not names:
            return
        last = msgspec.structs.replace(
            task,
            runs="broker",
            names=names,
            start=[],
            prior=dict.fromkeys(node.journal.finished) | node.journal.results,
            asked=node.journal.asked,
            bytes_left=self.bytes_left,
            children_left=self.payloads_left,
        )
        node.journal.add(self.executor.run(last, self._taking(node, last)))

    def _broker_names(self, node: Node) -> list[str]:
        wanted = {*self.plugins.always, *node.journal.asked}
        wanted.update(node.payload.meta.dispatch_to, self._start_of(node))
        wanted -= node.journal.finished
        names: list[str] = []
        for name in sorted(wanted) if wanted else ():
            try:
                if self.plugins.worker(name).runs == "broker":
                    names.append(name)
            except StoqError:
                continue  # reported by the examination already
        return names

    def _start_of(self, node: Node) -> list[str]:
        return list(self.request.start) if node.parent is self.top else []

    def _task(self, node: Node) -> Task:
        return Task(
            payload=node.payload,
            limits=self.limits,
            deadline=self.deadline,
            bytes_left=self.bytes_left,
            children_left=self.payloads_left,
            start=self._start_of(node),
            passwords=node.passwords(self.request.passwords),
            request=self.owner,
            scratch=self.scratch if self.held > self.drain_at else None,
        )

    # -- occurrences and waiting ------------------------------------------------------------------

    def _task_again(self, node: Node, holder: Node) -> Task | None:
        """What runs again for another copy: what depends on name, meta or passwords, where those differ.

        A locked copy below another parent gets its chance too, for the password may stand beside it.
        """
        if holder.state == "queued":
            self._process(holder)
        if not (self._due(node) and (self.copies.differs(node, holder) or locked(holder))):
            return None
        if not self.copies.rerun_names(node, holder):
            return None
        readers = self.copies.meta_readers(holder)
        task = self._task(node)
        task.names = readers
        task.asked = {name: holder.journal.asked[name] for name in readers if name in holder.journal.asked}
        task.prior = {
            name: holder.journal.results.get(name)
            for name in sorted(holder.journal.finished)
            if name not in readers
        }
        return task

    def _should_wait(self, node: Node) -> bool:
        if node.waited or not locked(node):
            return False
        parent = node.parent or self.top
        return parent.pending - len(parent.waiting) > 1 or parent.state == "running"

    def _wake(self, parent: Node) -> None:
        """Once only waiting siblings are left, those with new passwords are examined again."""
        if not parent.waiting or parent.pending > len(parent.waiting) or parent.state == "running":
            return
        waiting, parent.waiting = parent.waiting, []
        for node in waiting:
            node.waited = True
            task = self._task(node) if node.holder is None else self._task_again(node, node.holder)
            node.state = "running"
            if task is not None and task.passwords != node.tried:
                self._examine(node, task)
            self._finish(node)

    # -- finishing --------------------------------------------------------------------------------

    def _skip(self, node: Node) -> None:
        self.early.drop(node)
        reason, message = why_skipped(node, self.limits)
        self.book.mark(node, reason, None, message)
        self._finish(node)

    def _finish(self, node: Node) -> None:
        parent, payload = node.parent or self.top, node.payload
        self.book.spent(node)
        if node.occurrence is not None and node.holder is not None:
            self.book.copy(node, node.holder)
        else:
            node.report = self.book.report(node)
            if self.examined is not None and not node.dropped:
                self.examined(node.report, payload)
        node.state = "done"
        self._let_go(node)
        parent.pending -= 1
        for one in node.late:
            self.book.note_occurrence(one, node)
        self._wake(parent)
        self._wake(node)

    def _let_go(self, node: Node) -> None:
        """Release the bytes once nobody who shares them needs them any more."""
        owner = node
        if node.holder is not None and node.payload.body is node.holder.payload.body:
            owner = node.holder
            owner.sharers -= 1
        if owner.state == "done" and owner.sharers == 0:
            body = owner.payload.body
            if not body.released:
                self.held -= _held(body)
                body.release()


def _held(body: Body) -> int:
    """What a body costs in memory."""
    return 0 if body.on_disk or body.released else body.size
