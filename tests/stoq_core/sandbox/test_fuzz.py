"""Thousands of sequences of true, false and broken words against a live broker: no exception, no growth."""

from __future__ import annotations

import os

import psutil
import pytest

from stoq_core.limits import MiB
from tests.stoq_core.sandbox.stage import stage

BATCH = 25


def fuzzed(seeds: range) -> None:
    """A batch a request; every payload has its report, and the harmless one is as if it were alone."""
    with stage(limits__worker_wall_ms=300) as sandbox:
        process, first = psutil.Process(), None
        for start in range(seeds.start, seeds.stop, BATCH):
            attacks = [b"DO fuzz %d\n" % seed for seed in range(start, min(start + BATCH, seeds.stop))]
            done = sandbox.scan(*attacks, b"harmless %d" % start, wall_ms=600_000)
            roots = [one for one in done.reports if one.extracted_from is None]
            assert len(roots) == len(attacks) + 1
            assert roots[-1].result_of("later") == {"size": roots[-1].size}
            assert roots[-1].result_of("hash")["sha256"] == roots[-1].sha256
            if first is None:
                first = process.memory_info().rss, len(os.listdir("/proc/self/fd"))
        assert first is not None
        assert process.memory_info().rss < first[0] + 48 * MiB
        assert len(os.listdir("/proc/self/fd")) <= first[1] + 4


def test_some_sequences() -> None:
    """A few hundred."""
    fuzzed(range(200))


@pytest.mark.soak
@pytest.mark.timeout(3_600)
def test_ten_thousand_sequences() -> None:
    """The full number."""
    fuzzed(range(10_000))
