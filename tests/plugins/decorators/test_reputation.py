"""reputation: lists in every form, which payload a finding lands on, and what an allow list cannot do."""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handlers import bootstrap
from handlers.local.samples import eicar, zipped
from plugins.decorators.reputation import Reputation
from stoq_core.errors import ConfigError
from stoq_core.limits import Deadline
from stoq_core.payload import Request
from stoq_core.pipeline import payload_of
from stoq_core.render import document
from stoq_core.response import ScanResponse
from stoq_core.testing import make

SCAN_ID = "44444444-4444-4444-8444-444444444444"
HIDDEN = bytes(one ^ 9 for one in b"http://evil.example/")
WEAK = b"\1\2\3" + HIDDEN
"""Has the finding hidden_words, of 200."""


def sha256(content: bytes) -> str:
    """The digest."""
    return hashlib.sha256(content).hexdigest()


def listed(folder: Path, name: str, text: str) -> str:
    """A list file."""
    (folder / name).write_text(text)
    return str(folder / name)


def scan(content: bytes, options: dict[str, Any], *more: tuple[str, Any]) -> ScanResponse:
    """Scan with the shipped settings and this decorator."""
    settings_ = [
        ("scan.decorators", ["reputation"]),
        *((f"decorator.reputation.{k}", v) for k, v in options.items()),
    ]
    pipeline = bootstrap.pipeline(bootstrap.configured({}, [("sandbox.mode", "inline"), *settings_, *more]))
    request = Request(scan_id=SCAN_ID, payloads=[payload_of(content, "root")])
    return pipeline.scan(request, Deadline.after_ms(60_000))


def verdict(response: ScanResponse) -> str:
    """The request's verdict."""
    assert response.verdict is not None
    return response.verdict.verdict


def test_a_denied_part_is_malicious_and_the_finding_is_on_it(tmp_path: Path) -> None:
    """The list's name is in the detail, the path leads to the root, the root itself has no finding."""
    part = b"nothing that a rule knows"
    content = zipped(**{"inner.zip": zipped(part=part)})
    response = scan(content, {"deny": [listed(tmp_path, "known-bad.txt", sha256(part))]})
    assert response.verdict is not None
    assert (verdict(response), response.verdict.score) == ("malicious", 1000)
    (found,) = response.verdict.findings
    target = next(one for one in response.results if one.sha256 == sha256(part))
    assert (found.payload_id, found.plugin, found.path) == (
        target.payload_id, "reputation", ("part", "inner.zip", "root"),
    )  # fmt: skip
    assert found.finding.detail == f"known-bad: sha256 {sha256(part)}"
    assert [one.verdict for one in response.results] == ["clean", "clean", "malicious"]
    made = document(response)["decorators"]["reputation"]
    assert [(one["payload_id"], one["verdict"]) for one in made["listed"]] == [(target.payload_id, "denied")]


@pytest.mark.parametrize(
    "line",
    [
        "{sha256}",
        "{SHA256}",
        "# a comment\n\n{sha256}  file.exe",
        "{sha256} *file.exe",
        "sha256,name\n{sha256},file.exe",
        '"SHA-1","MD5","FileName"\n"{sha1}","{md5}","a.exe"',
        "\ufeff{md5}",
        "{sha1};comment",
    ],
)
def test_forms_of_lists(tmp_path: Path, line: str) -> None:
    """Plain, as sha256sum prints it, CSV with a head, in either case, with a byte order mark."""
    content = b"some content"
    digests = {name: hashlib.new(name, content).hexdigest() for name in ("sha256", "sha1", "md5")}
    text = line.format(SHA256=digests["sha256"].upper(), **digests)
    assert verdict(scan(content, {"deny": [listed(tmp_path, "l.csv", text)]})) == "malicious"
    assert verdict(scan(content + b".", {"deny": [listed(tmp_path, "l.csv", text)]})) == "clean"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "has no digests"),
        ("# only comments\n", "has no digests"),
        ("a" * 64 + "\nnonsense\n", "line 2"),
        ("a" * 63, "line 1"),
        ("a" * 65, "line 1"),
    ],
)
def test_a_list_that_cannot_be_read_stops_the_start(tmp_path: Path, text: str, says: str) -> None:
    """With the file and the line."""
    with pytest.raises(ConfigError, match=says):
        make(Reputation, deny=(listed(tmp_path, "l.txt", text),)).open()


def test_other_mistakes_stop_the_start(tmp_path: Path) -> None:
    """No list, a file that is not there, weak digests in an allow list."""
    with pytest.raises(ConfigError, match="give it a list"):
        make(Reputation).open()
    with pytest.raises(ConfigError, match="cannot be read"):
        make(Reputation, allow=(str(tmp_path / "none"),)).open()
    weak = listed(tmp_path, "weak.txt", "a" * 32)
    with pytest.raises(ConfigError, match="allow_weak_digests"):
        make(Reputation, allow=(weak,)).open()
    make(Reputation, allow=(weak,), allow_weak_digests=True).open()


def test_an_allowed_payload_loses_weak_findings(tmp_path: Path) -> None:
    """The score is taken back with a negative finding, that stands in the result beside the others."""
    before = scan(WEAK, {"deny": [listed(tmp_path, "d", "a" * 64)]})
    assert before.results[0].score == 200
    after = scan(WEAK, {"allow": [listed(tmp_path, "known-good.txt", sha256(WEAK))]})
    assert (after.results[0].score, verdict(after)) == (0, "clean")
    found = {one.finding.name: one.finding for one in after.results[0].findings}
    assert found["allow_listed"].score == -200
    assert found["allow_listed"].detail.startswith("known-good: sha256 ")


def test_an_allowed_payload_keeps_strong_findings(tmp_path: Path) -> None:
    """EICAR stays malicious, unless `weak_below` says otherwise."""
    allow = [listed(tmp_path, "good", sha256(eicar()))]
    assert verdict(scan(eicar(), {"allow": allow})) == "malicious"
    assert verdict(scan(eicar(), {"allow": allow, "weak_below": 1_001})) == "clean"


def test_denied_goes_before_allowed(tmp_path: Path) -> None:
    """A digest on both lists is denied."""
    text = sha256(WEAK)
    options = {"allow": [listed(tmp_path, "good", text)], "deny": [listed(tmp_path, "bad", text)]}
    assert verdict(scan(WEAK, options)) == "malicious"


def test_an_allowed_payload_is_not_made_complete(tmp_path: Path) -> None:
    """What was not examined stays so: incomplete, and suspicious only as far as findings say."""
    content = zipped(deep=zipped(deeper=b"x"))
    options = {
        "allow": [listed(tmp_path, "good", "\n".join(map(sha256, (content, zipped(deeper=b"x"), b"x"))))]
    }
    assert verdict(scan(content, options)) == "clean"
    response = scan(content, options, ("limits.depth", 1))
    assert verdict(response) == "incomplete"
    assert response.verdict is not None
    assert [one.reason.value for one in response.verdict.unread] == ["too_deep"]


def test_a_good_container_does_not_vouch_for_its_parts(tmp_path: Path) -> None:
    """Only the very payload counts."""
    content = zipped(part=eicar())
    allow = [listed(tmp_path, "good", sha256(content))]
    assert verdict(scan(content, {"allow": allow, "weak_below": 5_000})) == "malicious"


def test_missing_digests_are_counted(tmp_path: Path) -> None:
    """Where `hash` does not make the digest that a list asks for, the result says so."""
    deny = [listed(tmp_path, "bad", hashlib.md5(b"content").hexdigest())]
    response = scan(b"content", {"deny": deny}, ("worker.hash.algorithms", ["sha256"]))
    assert verdict(response) == "clean"
    assert document(response)["decorators"]["reputation"] == {"listed": [], "not_compared": 1}


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=400))
def test_any_file_is_a_list_or_a_config_error(content: bytes) -> None:
    """No bytes crash the start."""
    with tempfile.NamedTemporaryFile() as file, contextlib.suppress(ConfigError):
        file.write(content)
        file.flush()
        make(Reputation, deny=(file.name,)).open()
