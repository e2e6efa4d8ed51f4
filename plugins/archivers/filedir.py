"""Payload bytes in a folder, named by their sha256; fetches files by path."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Annotated, Any

import msgspec

from plugins._stores.files import write_whole
from stoq_core.body import BodyWriter, read_chunks
from stoq_core.errors import Reason, StoreError
from stoq_core.options import Options, about
from stoq_core.payload import ObjectRef, Payload, PayloadMeta
from stoq_core.plugin import ArchiveContext, Archiver


class FiledirOptions(Options, frozen=True):
    """Where."""

    path: Annotated[str, about("the folder; it is made where it is missing", min_length=1)] = "archive"


class Filedir(Archiver[FiledirOptions]):
    """`PATH/ab/cd/SHA256`, readable by the owner, never executable; the same bytes are kept once."""

    def archive(self, payload: Payload, context: ArchiveContext) -> dict[str, Any]:
        """Store the bytes; returns `{"path": …}`."""
        digest = context.sha256
        target = Path(self.options.path).expanduser() / digest[:2] / digest[2:4] / digest
        try:
            if not target.exists():
                write_whole(target, [payload.view()])
        except OSError as error:
            message = f"archiver.{self.name}: {target}: {error.strerror or error}"
            raise StoreError(message, retryable=True) from None
        return {"path": str(target)}

    def get(self, ref: ObjectRef, max_bytes: int) -> Payload:
        """Read the file `ref.key`."""
        path = Path(ref.key)
        try:
            with path.open("rb") as file:
                facts = path.stat()
                if not stat.S_ISREG(facts.st_mode):
                    raise StoreError(
                        f"{path}: is no regular file", retryable=False, reason=Reason.NOT_FETCHED
                    )
                writer = BodyWriter()
                for chunk in read_chunks(file):
                    writer.write(chunk)
                    if writer.size > max_bytes:
                        raise StoreError(
                            f"{path}: more than {max_bytes} bytes", retryable=False, reason=Reason.TOO_LARGE
                        )
        except FileNotFoundError:
            raise StoreError(f"{path}: is gone", retryable=False, reason=Reason.NOT_FETCHED) from None
        except OSError as error:
            raise StoreError(f"{path}: {error.strerror or error}", retryable=True) from None
        extra = {"filename": path.name, "object": msgspec.to_builtins(ref)}
        return Payload(writer.finish(), PayloadMeta(extra_data=extra))
