"""Sixty files by the command line and by each cloud's path: the same documents.

The clouds' handlers run in one process each, started cold, on real stores (moto, fake-gcs-server, azurite)
and on this machine's own libraries: what differs here differs by its path, not by a Python or a package.
That the bundles run on their runtimes is what the other tests of this folder show.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.clouds import CLOUDS
from tests.e2e.sixty_files import PASSWORD, ROWS, Row

pytestmark = pytest.mark.e2e

_REFERENCE = {"object", "bucket", "key"}
"""What the path of an object adds to the meta of a file."""


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    """Every file of the table, made once: some builders write the time."""
    return {row.name: row.made() for row in ROWS}


@pytest.fixture(scope="module")
def here(files: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """The documents of `stoq scan --json`, by name."""
    folder, archive = tmp_path_factory.mktemp("files"), tmp_path_factory.mktemp("archive")
    for name, content in files.items():
        (folder / name).write_bytes(content)
    command = [str(Path(sys.executable).with_name("stoq")), "scan", "--json", "--password", PASSWORD]
    command += ["--archiver", "filedir", "-o", f"archiver.filedir.path={archive}"]
    command += ["--connector", "filedir", "-o", f"connector.filedir.path={folder.parent / 'results'}"]
    environment = {name: text for name, text in os.environ.items() if not name.startswith("STOQ_")}
    done = subprocess.run(
        [*command, str(folder)], env={**environment, "HOME": str(folder.parent)},
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr  # some are malicious
    made = [json.loads(line) for line in done.stdout.splitlines()]
    return {one["results"][0]["payload_meta"]["extra_data"]["filename"]: one for one in made}


@pytest.fixture(scope="module", params=CLOUDS)
def there(request: pytest.FixtureRequest, files: dict[str, bytes]) -> tuple[str, dict[str, dict[str, Any]]]:
    """A cloud's name, and the records that its function stored, by name."""
    kind = CLOUDS[request.param]
    cloud = kind(request.getfixturevalue(kind.fixture))
    return request.param, cloud.scan(files, STOQ_SCAN__PASSWORDS=json.dumps([PASSWORD]))


def comparable(document: dict[str, Any]) -> dict[str, Any]:
    """Without reference, `time` and `stats`; ids become ordinals, an archive's place its digest."""
    occurring = [one for result in document["results"] for one in result["occurrences"]]
    ids = [document["scan_id"], *(one["payload_id"] for one in (*document["results"], *occurring))]
    assert len(set(ids)) == len(ids)
    text = json.dumps(document)
    for number, one in enumerate(ids):
        text = text.replace(one, f"id {number}")
    made: dict[str, Any] = json.loads(text)
    for name in ("time", "stats"):
        made.pop(name)
    made["request_meta"].pop("source")
    made["request_meta"]["extra_data"].pop("object", None)
    for result in made["results"]:
        if result["extracted_from"] is None:
            for name in _REFERENCE:
                result["payload_meta"]["extra_data"].pop(name, None)
        kept = result["payload_meta"]["should_archive"]
        places = [place.get("key", place.get("path")) for place in result["archivers"].values()]
        assert len(places) == len(result["plugins_run"].pop("archivers")) == kept
        result["archivers"] = [place.rpartition("/")[2] for place in places]
    return made


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name[:40])
def test_the_command_line_says_what_the_table_says(row: Row, here: dict[str, dict[str, Any]]) -> None:
    """Verdict, number of payloads and reasons: the documents that are compared are no empty ones."""
    document = here[row.name]
    verdict = document["decorators"]["verdict"]
    reasons = tuple(sorted({one["reason"] for one in verdict["unread"]}))
    assert (verdict["verdict"], len(document["results"]), reasons) == (row.verdict, row.payloads, row.reasons)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name[:40])
def test_a_clouds_path_gives_the_same_document(
    row: Row, here: dict[str, dict[str, Any]], there: tuple[str, dict[str, dict[str, Any]]]
) -> None:
    """All of it but reference, ids, `time` and `stats`, keys in the same order; in the sandbox, both."""
    cloud, records = there
    record, document = records[row.name], here[row.name]
    assert json.dumps(comparable(record), indent=1) == json.dumps(comparable(document), indent=1)
    for one in (record, document):
        assert {"no_network", "parent_opaque"} <= set(one["stats"]["sandbox"]["protections"])
    for differing in ("ruleset", "bytes", "payloads"):
        assert record["stats"][differing] == document["stats"][differing]
    named = record["request_meta"]["extra_data"]["object"]
    assert (named["store"], named["key"]) == (CLOUDS[cloud].store, row.name)
    root = record["results"][0]["payload_meta"]["extra_data"]
    assert (root["object"], root["bucket"], root["key"]) == (named, named["bucket"], row.name)
