"""Network workers run in the broker's last round: with secrets, and with bytes they cannot read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from handlers import bootstrap
from stoq_core.errors import StoqError
from stoq_core.limits import Deadline
from stoq_core.payload import Payload, Request
from stoq_core.pipeline import Pipeline
from tests.stoq_core.sandbox.stage import PLUGINS, SCAN_ID


def pipeline(mode: str, **settings: object) -> Pipeline:
    """A pipeline with the service among its workers."""
    overrides = {
        "sandbox.mode": mode,
        "plugin_paths": [str(PLUGINS)],
        "scan.only": ["hash", "service"],
        "scan.dispatchers": [],
        "worker.service.key": "env:SERVICE_KEY",
    }
    return bootstrap.pipeline(bootstrap.configured({}, {**overrides, **settings}.items()))


@pytest.mark.parametrize("mode", ["process", "inline"])
def test_a_network_worker(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has its key and the others' results, may hand the bytes on, and yields children that are scanned."""
    monkeypatch.setenv("SERVICE_KEY", "secret-4711")
    one = pipeline(mode)
    try:
        response = one.scan(Request(scan_id=SCAN_ID, payloads=[Payload(b"bytes")]), Deadline.after_ms(30_000))
    finally:
        one.close()
    assert not response.errors
    root, child = response.results
    assert root.result_of("service") == {"pid": os.getpid(), "key": 11, "same": True, "shut": True}
    assert root.workers_run == [["hash"], ["service"]]
    assert (child.name, child.extracted_by) == ("report.txt", "service")
    assert child.result_of("hash")["sha256"] == child.sha256


def test_its_secret_is_missed_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bad deployment fails when it starts, and says which secret is missing."""
    monkeypatch.delenv("SERVICE_KEY", raising=False)
    with pytest.raises(StoqError, match="SERVICE_KEY"):
        pipeline("process")


def test_a_sandbox_plugin_has_no_secrets(tmp_path: Path) -> None:
    """One that declares a secret option is refused when the scanner starts."""
    (tmp_path / "workers").mkdir()
    text = (PLUGINS / "workers" / "service.py").read_text().replace('    runs = "broker"\n', "")
    (tmp_path / "workers" / "greedy.py").write_text(text)
    settings = {"plugin_paths": [str(tmp_path)], "scan.only": ["greedy"], "worker.service.key": "env:X"}
    with pytest.raises(StoqError, match="may not have a secret option"):
        pipeline("process", **settings, worker={"greedy": {"key": "env:X"}})
