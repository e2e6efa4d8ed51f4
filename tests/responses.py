"""Responses for tests of stores: small, partial and large ones of the same scan."""

from __future__ import annotations

from typing import Any

from stoq_core.errors import Reason, Unread
from stoq_core.job import Finding
from stoq_core.payload import PayloadMeta, RequestMeta, child_id, root_id
from stoq_core.response import FoundIn, PayloadReport, ScanResponse
from stoq_core.verdict import judge

SCAN_ID = "22222222-2222-4222-8222-222222222222"


def response(
    *,
    scan_id: str = SCAN_ID,
    children: int = 2,
    partial: bool = False,
    name: str = "root.zip",
    time: str = "2026-01-01T00:00:00Z",
    score: int = 0,
    padding: int = 0,
    attempt: int = 1,
) -> ScanResponse:
    """A judged response with a root and its children."""
    root = root_id(scan_id, 0)
    reports = [_report(root, name, None, padding)]
    reports += [_report(child_id(root, "zip", n), f"member {n}", root, 0) for n in range(children)]
    if partial:
        reports[0].unread.append(Unread(reason=Reason.DEADLINE, payload_id=root))
    if score:
        found = FoundIn(plugin="yara", payload_id=root, finding=Finding("bad_rule", score), path=(name,))
        reports[0].findings.append(found)
    made = ScanResponse(
        scan_id=scan_id, time=time, request_meta=RequestMeta(source="test"), results=reports, attempt=attempt
    )
    made.verdict = judge(made, (), ())
    return made


def _report(payload_id: str, name: str, parent: str | None, padding: int) -> PayloadReport:
    workers: dict[str, Any] = {"hash": {"md5": "0" * 32}}
    if padding:
        workers["big"] = {"text": [f"{n:08x}" * 16 for n in range(padding // 128)]}
    return PayloadReport(
        payload_id=payload_id,
        size=3,
        sha256=(payload_id.replace("-", "") * 2)[:64],
        meta=PayloadMeta(extra_data={"filename": name}),
        workers=[workers],
        workers_run=[sorted(workers)],
        extracted_from=parent,
        extracted_by="zip" if parent else None,
    )
