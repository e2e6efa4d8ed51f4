"""All real documents and mails, taken apart to the end by the shipped routing: a summary that is kept."""

from __future__ import annotations

import functools
import hashlib
import io
import json
import os
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

from handlers import bootstrap
from stoq_core.limits import Deadline
from stoq_core.payload import Request
from stoq_core.pipeline import Pipeline, payload_of
from stoq_core.render import encode
from tests import samples
from tests.office_files import document as document_with
from tests.plugins.workers.fuzz_documents import WORKERS, fuzz

SOURCES = ("oletools", "tnefparse", "mail-parser", "email", "clamav")
KEPT = Path(__file__).with_name("documents.json")
WRITE = "STOQ_SNAPSHOT"
MEANS = f"what is found in real files changed; if that is right: {WRITE}=write pytest {Path(__file__).name}, and look at the difference"


@functools.cache
def pipeline() -> Pipeline:
    """The shipped config and routing, inline."""
    return bootstrap.pipeline(bootstrap.configured({}, [("sandbox.mode", "inline")]))


def scanned(content: bytes, name: str) -> dict[str, Any]:
    """The document of one file."""
    request = Request(scan_id="00000000-0000-5000-8000-000000000001", payloads=[payload_of(content, name)])
    made: dict[str, Any] = json.loads(encode(pipeline().scan(request, Deadline.after_ms(120_000))))
    return made


def summary(document: dict[str, Any]) -> dict[str, Any]:
    """By worker: payloads it ran on, children, findings and reasons; only where these workers lead to.

    What other workers take out of a file does not count, so that their progress does not change this.
    """
    ours = set(WORKERS)
    led = {one["payload_id"]: one for one in document["results"]}
    kept: dict[str, dict[str, Any]] = {}
    reached: set[str] = set()
    for one in document["results"]:
        parent = one["extracted_from"]
        if parent is None or (parent in reached and one["extracted_by"] in ours | {"decompress"}):
            reached.add(one["payload_id"])
    for payload_id in reached:
        for name in {name for names in led[payload_id]["plugins_run"]["workers"] for name in names} & ours:
            row = kept.setdefault(name, {"payloads": 0, "children": 0, "findings": [], "unread": []})
            row["payloads"] += 1
            row["children"] += sum(
                one["extracted_from"] == payload_id and one["extracted_by"] == name for one in led.values()
            )
    verdict = document["decorators"]["verdict"]
    for key, word in (("findings", "name"), ("unread", "reason")):
        for one in verdict[key]:
            if one["plugin"] in kept and one["payload_id"] in reached:
                row = kept[one["plugin"]]
                row[key] = sorted({*row[key], one[word]})
    return kept


def failures(document: dict[str, Any]) -> list[str]:
    """Errors that no file may cause."""
    return [
        f"{plugin}: {one['code']} {one['message']}"
        for plugin, errors in document["errors"].items()
        for one in errors
        if one["code"]
        in ("plugin_failed", "wrong_type", "duplicate_key", "requires_failed", "memory", "timeout")
    ]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("source", SOURCES)
def test_real_files_give_what_they_gave(source: str) -> None:
    """No worker fails on any file, and payloads, findings and reasons are those of the kept summary."""
    kept = json.loads(KEPT.read_text("utf-8")) if KEPT.exists() else {}
    found = {}
    for file in samples.files(source):
        document = scanned(file.read_bytes(), file.name)
        assert not failures(document), file
        if summary(document):
            found[file.name if source != "oletools" else f"{file.parent.name}/{file.name}"] = summary(
                document
            )
    if os.environ.get(WRITE):
        KEPT.write_text(json.dumps({**kept, source: found}, indent=1, sort_keys=True) + "\n", "utf-8")
        return
    # other versions of a package may have more files; those that are kept must not change
    changed = {
        name: (kept[source][name], now)
        for name, now in found.items()
        if name in kept[source] and kept[source][name] != now
    }
    assert not changed, MEANS
    assert set(found) & set(kept[source])


def test_ordinary_documents_are_not_suspicious() -> None:
    """Files that their makers call harmless stay under 300, and every byte of them is read."""
    harmless = [
        one
        for one in samples.files("oletools")
        if one.name.startswith(("harmless", "embedded-simple", "RTF-Spec", "text"))
    ]
    assert len(harmless) > 30
    for file in harmless:
        verdict = scanned(file.read_bytes(), file.name)["decorators"]["verdict"]
        assert (verdict["verdict"], verdict["score"] < 300) == ("clean", True), (file, verdict)


@pytest.mark.parametrize("name", sorted(WORKERS))
def test_mutations_of_real_files(name: str) -> None:
    """Two seconds of mutated real files a worker: nothing raised, nothing slow, the limits kept."""
    assert [what for _, _, what in fuzz(name, 2, seed=1)] == []


def test_a_mail_opens_its_own_encrypted_attachments() -> None:
    """The password that the body names opens a document and a zip that are attached to it."""
    from msoffcrypto.format.ooxml import OOXMLFile

    plain = samples.content("oletools", "msodde/harmless-clean.docx")
    sealed = io.BytesIO()
    OOXMLFile(io.BytesIO(plain)).encrypt("Sommer 2026!", sealed)
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "a@example.com", "b@example.org", "documents"
    message.set_content('As promised. The password is "Sommer 2026!"\n')
    message.add_attachment(
        sealed.getvalue(), maintype="application", subtype="octet-stream", filename="d.docx"
    )
    document = scanned(message.as_bytes(), "m.eml")
    assert document["decorators"]["verdict"]["verdict"] == "clean"
    assert hashlib.sha256(plain).hexdigest() in json.dumps(document)
    message.replace_header("Subject", "none")
    silent = scanned(message.as_bytes().replace(b"The password is", b"The weather is"), "m.eml")
    assert silent["decorators"]["verdict"]["verdict"] == "incomplete"


def test_a_document_in_a_mail_in_a_mail() -> None:
    """Routing takes a macro out of a document in an attached message, and its finding is the mail's."""
    inner = EmailMessage()
    inner["From"], inner["Subject"] = "c@example.com", "inner"
    inner.set_content("see attached")
    macro = document_with({"M": 'Sub AutoOpen()\r\n  Shell "calc"\r\nEnd Sub\r\n'})
    inner.add_attachment(macro, maintype="application", subtype="msword", filename="a.doc")
    outer = EmailMessage()
    outer["From"], outer["Subject"] = "d@example.com", "outer"
    outer.set_content("forwarded")
    outer.add_attachment(inner)
    verdict = scanned(outer.as_bytes(), "m.eml")["decorators"]["verdict"]
    assert verdict["verdict"] == "suspicious"
    (found,) = [one for one in verdict["findings"] if one["name"] == "macro_runs_program"]
    assert "a.doc" in str(found["path"])
