"""The composition root: what it refuses before anything runs, and how own rules get to the plugins."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from handlers import bootstrap
from stoq_core.config import load
from stoq_core.errors import ConfigError

INLINE = ("sandbox.mode", "inline")


def started(*overrides: tuple[str, Any]) -> None:
    """Start and stop it."""
    bootstrap.pipeline(load(overrides=[INLINE, *overrides])).close()


@pytest.mark.parametrize(
    ("kind", "name", "where", "bucket"),
    [
        ("archiver", "s3", "scan.archivers", "bucket"),
        ("connector", "s3", "scan.connectors", "bucket"),
        ("connector", "gcs", "scan.connectors", "bucket"),
        ("archiver", "azure_blob", "scan.archivers", "container"),
    ],
)
@pytest.mark.parametrize(
    ("written", "heard"),
    [("", ""), ("results/", ""), ("", "in/"), ("in/results/", "in/"), ("in/", "in/new/")],
)
def test_nothing_is_written_where_the_trigger_listens(
    kind: str, name: str, where: str, bucket: str, written: str, heard: str
) -> None:
    """Every result would be an event, and every event a result: refused, with the plugin's name."""
    settings = [
        ("trigger", {"bucket": "incoming", "prefix": heard}),
        (where, [name]),
        (f"{kind}.{name}.{bucket}", "incoming"),
        (f"{kind}.{name}.prefix", written),
    ]
    with pytest.raises(ConfigError, match=rf"{kind}\.{name} writes into bucket 'incoming'"):
        started(*settings)


def test_other_buckets_and_other_prefixes_are_no_loop(tmp_path: Path) -> None:
    """Separate places start; so does a trigger without a bucket, and a store that is not used."""
    for trigger, options in (
        ({"bucket": "incoming", "prefix": "in/"}, {"bucket": "incoming", "prefix": "out/"}),
        ({"bucket": "incoming"}, {"bucket": "results"}),
        ({"prefix": "in/"}, {"bucket": "incoming"}),
    ):
        config = load(
            overrides=[INLINE, ("trigger", trigger), ("scan.connectors", ["s3"]), ("connector.s3", options)]
        )
        bootstrap._refuse_loops(config)
    unused = load(overrides=[("trigger", {"bucket": "incoming"}), ("connector.s3.bucket", "incoming")])
    bootstrap._refuse_loops(unused)


def test_a_named_instance_is_guarded_too() -> None:
    """`use = "s3"` under another name writes into the same bucket."""
    settings = [
        ("trigger", {"bucket": "incoming"}),
        ("scan.connectors", ["audit"]),
        ("connector.audit", {"use": "s3", "bucket": "incoming"}),
    ]
    with pytest.raises(ConfigError, match=r"connector\.audit writes"):
        started(*settings)


def test_both_yara_plugins_get_the_same_rules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Path and extra, absolute and in their order; a plugin's own stay beside them; none without any."""
    monkeypatch.chdir(tmp_path)
    overrides = [
        ("rules.path", "a"),
        ("rules.extra", ["/b"]),
        ("worker.yara.rules", "c"),
        ("rules.shipped", False),
    ]
    config = bootstrap.configured({}, overrides)
    shared = {"extra": [str(tmp_path / "a"), "/b"], "shipped": False}
    assert config.dispatcher["yara"] == shared
    assert config.worker["yara"] == {**shared, "rules": str(tmp_path / "c")}
    plain = bootstrap.configured({})
    assert "yara" not in plain.worker
    assert "yara" not in plain.dispatcher
    limited = bootstrap.configured({}, [("worker.yara.strings_limit", 3)])
    assert limited.worker["yara"] == {"extra": [], "shipped": True, "strings_limit": 3}
    assert "yara" not in limited.dispatcher
