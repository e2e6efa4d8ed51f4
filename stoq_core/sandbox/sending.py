"""A task as it is sent to a child: one message, and the payload's descriptor where it is large."""

from __future__ import annotations

import os
import time

from stoq_core.body import Body
from stoq_core.scan.examine import Task
from stoq_core.values import plain_text

from . import messages as wire
from .handing import handed, read_only, sealed_copy


def message_of(
    task: Task, sent: list[wire.Entry], inline_bytes: int, *, files_closed: bool
) -> tuple[wire.Task, tuple[int, ...], list[int]]:
    """The task, with the payload's descriptor where it is large; and what to close afterwards."""
    payload = task.payload
    body: Body = payload.body
    inline = body.fd is None and body.size <= inline_bytes
    message = wire.Task(
        payload_id=payload.payload_id,
        sha256=payload.sha256,
        content=body.content() if inline else None,
        extra_data=payload.meta.extra_data,
        dispatch_to=payload.meta.dispatch_to,
        depth=payload.depth,
        extracted_from=payload.extracted_from,
        extracted_by=payload.extracted_by,
        limits=task.limits,
        until_s=time.monotonic() + task.deadline.left_ms / 1000,
        bytes_left=task.bytes_left,
        children_left=task.children_left,
        start=task.start,
        passwords=[plain_text(one) for one in task.passwords],
        names=task.names,
        prior=task.prior,
        asked=task.asked,
        journal=sent,
    )
    if inline:
        return message, (), []
    fd = _open_to_read(body, files_closed=files_closed)
    return message, (fd,), [fd]


def _open_to_read(body: Body, *, files_closed: bool) -> int:
    """A descriptor for a child, of sealed bytes.

    A file on disk is sealed by nothing, and lent only to who can open no file to write (seccomp); its rights
    are taken away first. Else it is copied.
    """
    if body.fd is None or not body.on_disk or not files_closed:
        return handed(body)
    try:
        os.fchmod(body.fd, 0o400)
        return read_only(body.fd)
    except OSError:
        return sealed_copy(body)
