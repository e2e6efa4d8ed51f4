"""Digests of the whole payload, several in one pass."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Iterable
from typing import Annotated, Any

from stoq_core.errors import ConfigError
from stoq_core.job import Job
from stoq_core.limits import MiB
from stoq_core.options import Options, about, did_you_mean
from stoq_core.payload import Payload
from stoq_core.plugin import Worker

_STEP_BYTES = 4 * MiB


class HashOptions(Options, frozen=True):
    """Which digests."""

    algorithms: Annotated[tuple[str, ...], about("digests by hashlib's names", min_length=1)] = (
        "md5",
        "sha1",
        "sha256",
    )


class Hash(Worker[HashOptions]):
    """One key a digest, in hex. The sha256 that names the payload is not worked out twice."""

    def __init__(self, options: HashOptions, name: str) -> None:
        """Refuse digests that this Python does not have or whose length is not fixed."""
        super().__init__(options, name)
        for one in options.algorithms:
            if one not in hashlib.algorithms_available or one.startswith("shake_"):
                known = sorted(hashlib.algorithms_guaranteed)
                msg = f"worker.{name}.algorithms: no digest is named {one!r}.{did_you_mean(one, known)}"
                raise ConfigError(msg)
        self._new: dict[str, Callable[..., Any]] = {
            one: getattr(hashlib, one, None) or functools.partial(hashlib.new, one)
            for one in options.algorithms
            if one != "sha256"
        }

    def scan(self, payload: Payload, job: Job) -> Iterable[Any]:
        """One mapping from algorithm to hex digest."""
        others = {name: new(usedforsecurity=False) for name, new in self._new.items()}
        view = payload.view()
        for start in range(0, len(view), _STEP_BYTES):
            part = view[start : start + _STEP_BYTES]
            for digest in others.values():
                digest.update(part)
        return [
            {
                name: payload.sha256 if name == "sha256" else others[name].hexdigest()
                for name in self.options.algorithms
            }
        ]
