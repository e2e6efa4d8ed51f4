"""`stoq scan` and `stoq demo`: from paths to requests, from responses to exit codes."""

from __future__ import annotations

import glob
import os
import sys
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from handlers import bootstrap
from stoq_core.body import Body, BodyWriter, read_chunks
from stoq_core.config import Config
from stoq_core.errors import ConfigError, Reason, StoreError
from stoq_core.limits import Deadline
from stoq_core.payload import ObjectRef, Request, RequestMeta
from stoq_core.pipeline import NotStoredError, Pipeline, payload_of
from stoq_core.render import encode
from stoq_core.response import ScanResponse
from stoq_core.visible import visible, visible_json

from .examined import Examined
from .in_flight import in_flight

HOME = Path("~/.stoq")


class Asked(msgspec.Struct, kw_only=True):
    """What the command line said."""

    overrides: list[tuple[str, Any]] = []
    source: str | None = None
    extra: dict[str, Any] = {}
    passwords: list[str] = []
    scan_id: str | None = None
    config: Path | None = None


class Tally:
    """Counts verdicts and failures; knows the exit code (clamscan's)."""

    def __init__(self) -> None:
        """Nothing so far."""
        self.verdicts: dict[str, int] = {}
        self.failed = 0
        self.examined = Examined()

    def add(self, response: ScanResponse) -> None:
        """Count one response."""
        verdict = response.verdict.verdict if response.verdict else "incomplete"
        self.verdicts[verdict] = self.verdicts.get(verdict, 0) + 1
        self.examined.add(response)

    @property
    def exit_code(self) -> int:
        """1 suspicious or malicious, else 2 incomplete or failed, else 0."""
        if self.verdicts.get("malicious") or self.verdicts.get("suspicious"):
            return 1
        return 2 if self.failed or self.verdicts.get("incomplete") else 0


def settings(pairs: Iterable[str]) -> list[tuple[str, Any]]:
    """`NAME=VALUE` pairs, split."""
    split = []
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            msg = f"{pair!r}: write NAME=VALUE, such as worker.yara.strings_limit=5"
            raise ConfigError(msg)
        split.append((name, value))
    return split


def configured(file: Path | None, overrides: Iterable[tuple[str, Any]] = ()) -> Config:
    """The config for this machine: inline, own plugins from ~/.stoq/plugins, results in sqlite."""
    base = bootstrap.configured(os.environ, overrides, file)
    more: list[tuple[str, Any]] = list(overrides)
    if not base.scan.connectors and "scan.connectors" not in dict(overrides):
        more.append(("scan.connectors", ["sqlite"]))
    if base.sandbox.share_children is None:
        more.append(("sandbox.share_children", True))
    config = bootstrap.configured(os.environ, more, file)
    own = HOME.expanduser() / "plugins"
    if own.is_dir() and str(own) not in config.plugin_paths:
        config = msgspec.structs.replace(config, plugin_paths=(str(own), *config.plugin_paths))
    return config


def run(paths: list[str], asked: Asked, *, as_json: bool) -> int:
    """Scan all paths; the exit code."""
    if asked.scan_id is not None:
        _checked_uuid(asked.scan_id, paths)
    config = configured(asked.config, asked.overrides)
    tally = Tally()
    files = list(_files(paths, tally))
    pipeline = bootstrap.pipeline(config)
    bootstrap.settled()
    for line in pipeline.warnings:
        complain(line)
    try:
        _scan_all(files, asked, pipeline, tally, as_json=as_json)
    finally:
        pipeline.close()
    if not as_json and files:
        from .show import summary

        summary(tally.verdicts if len(files) > 1 else {}, tally.failed, str(tally.examined))
    return tally.exit_code


def _scan_all(files: list[Path], asked: Asked, pipeline: Pipeline, tally: Tally, *, as_json: bool) -> None:
    from .show import Progress, response_tree

    config = pipeline.config
    at_once = (config.sandbox.processes or processors()) if config.sandbox.mode == "process" else 1
    answers = in_flight(
        files,
        lambda file: _scan_one(file, asked, pipeline),
        at_once=min(at_once, len(files)),
        held_bytes=config.limits.held_bytes,
    )
    with Progress(len(files)) as progress:
        for file, answer in answers:
            progress.step(str(file))
            try:
                response = answer()
            except OSError as error:
                tally.failed += 1
                complain(f"{file}: cannot be read: {error.strerror or error}")
                continue
            except NotStoredError as error:
                tally.failed += 1
                response = error.response
                others = f" (stored by {', '.join(error.stored)})" if error.stored else ""
                complain(f"{file}: scanned, but the result was not stored everywhere{others}: {error}")
            except StoreError as error:
                tally.failed += 1
                complain(f"{file}: not scanned: {error}")
                continue
            tally.add(response)
            if as_json:
                sys.stdout.buffer.write(visible_json(encode(response).decode()).encode() + b"\n")
                sys.stdout.buffer.flush()
            else:
                progress.show(response_tree(response, brief=len(files) > 1))


def processors() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _scan_one(file: Path, asked: Asked, pipeline: Pipeline) -> ScanResponse:
    name = "stdin" if str(file) == "-" else str(file)
    extra = dict(asked.extra)
    request = Request(
        scan_id=asked.scan_id or str(uuid.uuid4()),
        meta=RequestMeta(source=asked.source, extra_data=extra),
        start=list(pipeline.config.scan.start),
        passwords=[*asked.passwords, *pipeline.config.scan.passwords],
    )
    allowed = pipeline.config.limits.payload_bytes
    size = 0 if name == "stdin" else file.stat().st_size
    if size > allowed:
        ref = ObjectRef(store="file", bucket="", key=name, size=size)
        message = f"{size} bytes are more than limits.payload_bytes ({allowed}); raise it to scan this file"
        response = pipeline.unscanned(request, Reason.TOO_LARGE, message, ref=ref)
        pipeline.store(response)
        return response
    request.payloads = [payload_of(_body(file, allowed), os.path.basename(name))]
    deadline = Deadline.after_ms(pipeline.config.limits.request_wall_ms)
    return pipeline.scan(request, deadline)


def _body(file: Path, allowed: int) -> Body:
    writer = BodyWriter()
    with sys.stdin.buffer if str(file) == "-" else file.open("rb") as source:
        for chunk in read_chunks(source):  # type: ignore[arg-type]
            writer.write(chunk)
            if writer.size > allowed:
                break
    return writer.finish()


def _files(paths: list[str], tally: Tally) -> Iterator[Path]:
    """Every regular file that the paths name, in a stable order; what cannot be had is complained of."""
    if paths.count("-") > 1:
        raise ConfigError("- stands for standard input, which can be read once; give it once")
    for path in paths:
        if path == "-":
            yield Path(path)
            continue
        found = [path] if os.path.lexists(path) else sorted(glob.glob(path, recursive=True))
        if not found:
            tally.failed += 1
            complain(f"{path}: no such file or folder")
        for one in found:
            yield from _below(Path(one), tally)


def _below(path: Path, tally: Tally) -> Iterator[Path]:
    if path.is_file():
        yield path
        return
    if not path.is_dir():
        tally.failed += 1
        complain(f"{path}: is no regular file; pipe it in as - if you mean it")
        return

    def unreadable(error: OSError) -> None:
        tally.failed += 1
        complain(f"{error.filename}: cannot be listed: {error.strerror}")

    root = os.path.realpath(path)
    for folder, folders, names in os.walk(path, onerror=unreadable):
        folders.sort()
        for name in folders:
            link = os.path.join(folder, name)
            if os.path.islink(link) and not _within(os.path.realpath(link), root):
                tally.failed += 1
                complain(f"{link}: is a link to a folder elsewhere and was not followed; name it to scan it")
        for name in sorted(names):
            file = Path(folder, name)
            if file.is_file():
                yield file
            else:
                tally.failed += 1
                complain(f"{file}: is no regular file and was not read")


def _within(place: str, root: str) -> bool:
    """True for what is scanned anyway, in its own place below the root."""
    return os.path.commonpath([place, root]) == root


def complain(message: str) -> None:
    """One line on standard error."""
    print(f"stoq: {visible(message, keep=chr(10))}", file=sys.stderr)


def _checked_uuid(scan_id: str, paths: list[str]) -> None:
    try:
        uuid.UUID(scan_id)
    except ValueError:
        msg = f"--scan-id {scan_id!r} is no UUID"
        raise ConfigError(msg) from None
    if len(paths) > 1 or os.path.isdir(paths[0]):
        msg = "--scan-id names one scan; give it with one file"
        raise ConfigError(msg)


def demo(*, as_json: bool) -> int:
    """Scan the built-in set; the exit code is 0 when all verdicts are the expected ones."""
    import tempfile

    from .samples import write_samples

    with tempfile.TemporaryDirectory(prefix="stoq-demo-") as folder:
        files = write_samples(Path(folder))
        asked = Asked(overrides=[("scan.connectors", [])])
        code = run([str(file) for file in files], asked, as_json=as_json)
    if not as_json:
        print("\nThese files were built for this demonstration. Scan your own: make scan FILE=path")
    return 0 if code == 1 else 2
