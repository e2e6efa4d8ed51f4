"""The floor: what must have happened to a payload before it may be called clean (CLEAN, *The floor*).

It is told from the journal in the process that believes no child: a payload counts as examined only if
it was identified, searched and, where its type holds others, opened, and if all that was due has ended.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from typing import Any

from stoq_core.errors import Reason, StoqError, Unread
from stoq_core.payload import Payload

from .examine import Task
from .journal import Journal
from .plugin_facts import PluginIndex

ENGINE = "engine"
_OPENED = frozenset({"container", "encoding"})
_ROLES = {
    "identifies": (Reason.NOT_IDENTIFIED, "no plugin that identifies has said what it is"),
    "searches": (Reason.NOT_SEARCHED, "no plugin that searches has looked through it to its end"),
}


class Floor:
    """What each payload of a scan must have had; `unknown_is_clean` is `[verdict] unknown = "clean"`."""

    def __init__(self, plugins: PluginIndex, *, unknown_is_clean: bool = False) -> None:
        """The plugins that the config names, and any other that comes up."""
        self._plugins = plugins
        self._unknown_is_clean = unknown_is_clean
        self._always = frozenset(plugins.always)
        needed = [one for one in plugins.dispatchers if one.essential]
        self._first = frozenset(f"dispatcher:{one.name}#0" for one in needed)
        self._again = [one.name for one in needed if one.reads_results]
        self._reread = frozenset(f"dispatcher:{one.name}#0" for one in needed if one.reads_meta)
        self._by_role: dict[str, frozenset[str]] = dict.fromkeys(
            ("identifies", "searches", "opens"), frozenset()
        )
        self._asked_for: frozenset[str] = frozenset()
        self._lock = threading.Lock()

    def lacks(self, task: Task, journal: Journal) -> list[Unread]:
        """Why the payload is not examined, beyond what the journal says itself; empty for nearly all."""
        payload: Payload = task.payload
        ended = journal.finished - journal.failed if journal.failed else journal.finished
        done = ended.union(task.prior) if task.prior else ended
        self._learn(done)
        said = {name for name in self._by_role["identifies"] if name in journal.results or name in task.prior}
        found = [
            _unread(payload, reason, message)
            for role, (reason, message) in _ROLES.items()
            if (said if role == "identifies" else self._by_role[role]).isdisjoint(done)
        ]
        given = {one.plugin for one in journal.unread}
        if ENGINE not in given:
            found += self._steps(task, journal, given)
        if not given and not journal.cut_child and any(one.unread for one in journal.coverage):
            message = "bytes were left unread, and nothing says why"
            found.append(_unread(payload, Reason.PLUGIN_FAILED, message))
        if task.names is None:
            found += self._opening(payload, journal, done, given)
        return found

    def missing(self) -> list[str]:
        """The roles that no plugin of the config has, for a start that is to be refused or warned of."""
        self._learn(self._always)
        lacking = [role for role in _ROLES if self._by_role[role].isdisjoint(self._always)]
        if not self._plugins.dispatchers and self._by_role["opens"].isdisjoint(self._always):
            lacking.append("opens")
        return lacking

    def _learn(self, names: AbstractSet[str]) -> None:
        """Take in the roles of workers that were not seen before."""
        new = names - self._asked_for
        if new:
            with self._lock:  # scans side by side learn of the same
                self._take(new)

    def _take(self, names: AbstractSet[str]) -> None:
        for name in names:
            if name.startswith("dispatcher:"):
                continue
            try:
                roles = self._plugins.worker(name).roles
            except StoqError:
                continue
            for role in roles:
                self._by_role[role] |= {name}  # a new set: another scan may be looking through the old one
        self._asked_for |= names  # at last: who finds a name there finds its roles, too

    def _steps(self, task: Task, journal: Journal, given: set[str | None]) -> list[Unread]:
        """What was due and has neither ended nor said why not; and what failed without a word."""
        due = set(self._always if task.names is None else task.names)
        due.update(task.start, task.payload.meta.dispatch_to, journal.asked, task.asked)
        due -= journal.finished
        due.difference_update(task.prior)
        found = [*self._unended(due, task, given)] if due else []
        keys = self._first if task.names is None else self._reread
        if not keys <= journal.finished or self._again:
            expected = {
                *keys,
                *(f"dispatcher:{n}#{at + 1}" for n in self._again for at, _ in enumerate(journal.rounds)),
            }
            late = sorted(expected - journal.finished)
            found += [self._failed(task.payload, key.partition("#")[0]) for key in late]
        for key in journal.failed:
            label = key.partition("#")[0]
            if label not in given and self._essential(label):
                found.append(self._failed(task.payload, label))
        return found

    def _unended(self, due: set[str], task: Task, given: set[str | None]) -> Iterable[Unread]:
        for name in sorted(due):
            if name in given:
                continue
            try:
                worker = self._plugins.worker(name)
            except StoqError as error:
                yield Unread(
                    reason=Reason.PLUGIN_MISSING,
                    payload_id=task.payload.payload_id,
                    plugin=name,
                    message=str(error)[:1000],
                )
                continue
            if worker.essential and worker.accepts.match(task.payload):
                yield self._failed(task.payload, name)

    def _failed(self, payload: Payload, label: str) -> Unread:
        message = "it was due, and nothing tells that it came to its end"
        return Unread(
            reason=Reason.PLUGIN_FAILED, payload_id=payload.payload_id, plugin=label, message=message
        )

    def _essential(self, label: str) -> bool:
        name = label.removeprefix("dispatcher:")
        if name != label:
            return any(one.name == name and one.essential for one in self._plugins.dispatchers)
        try:
            return self._plugins.worker(name).essential
        except StoqError:
            return True

    def _opening(
        self, payload: Payload, journal: Journal, done: AbstractSet[str], given: set[str | None]
    ) -> list[Unread]:
        """A container or an encoding that nobody opened, or bytes of which nobody knows what they are."""
        openers = self._by_role["opens"].intersection(done)
        opened = not openers.isdisjoint(journal.openers)  # it gave children or an account, not a shrug
        for name in self._by_role["identifies"]:
            said = journal.results.get(name)
            if said is None:
                continue
            if said.get("kind") in _OPENED and not (opened or self._excused(journal, given)):
                return [
                    _unread(
                        payload, Reason.NO_WORKER, f"{_label(said)}: nothing that runs here has opened it"
                    )
                ]
            # where an account was kept, what it left became children, which are judged by themselves
            if said.get("kind") == "unknown" and not journal.coverage and not self._unknown_is_clean:
                return [_unread(payload, Reason.UNKNOWN_TYPE, "dense bytes of no known type")]
        return []

    def _excused(self, journal: Journal, given: set[str | None]) -> bool:
        """True where the journal says already why it was not opened."""
        self._learn({name for name in given if name and name != ENGINE})
        said = Reason.NO_WORKER in journal.reasons() or ENGINE in given
        return said or not self._by_role["opens"].isdisjoint(given)


def _label(said: dict[str, Any]) -> str:
    return str(said.get("label", "?"))[:100]


def _unread(payload: Payload, reason: Reason, message: str) -> Unread:
    return Unread(reason=reason, payload_id=payload.payload_id, plugin=None, message=message)
