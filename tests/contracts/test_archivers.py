"""What every archiver must do; each store runs all of it."""

from __future__ import annotations

import hashlib
import os
import uuid
from pathlib import Path
from typing import Any

import pytest

from plugins.archivers.filedir import Filedir
from plugins.archivers.s3 import S3
from stoq_core.errors import Reason, StoreError
from stoq_core.payload import ObjectRef
from stoq_core.plugin import ArchiveContext
from stoq_core.testing import make, payload
from tests.servers import free_port

MOST = 10_000_000


def context(content: bytes) -> ArchiveContext:
    """What the pipeline hands over."""
    return ArchiveContext(scan_id="s", sha256=hashlib.sha256(content).hexdigest(), report=None)


class Bucket:
    """An S3 bucket with its archiver."""

    def __init__(self, address: str, *, versioned: bool = False) -> None:
        """A new bucket."""
        import boto3

        self.client = boto3.client("s3", endpoint_url=address)
        self.name = f"t-{uuid.uuid4().hex[:12]}"
        self.client.create_bucket(Bucket=self.name)
        if versioned:
            self.client.put_bucket_versioning(Bucket=self.name, VersioningConfiguration={"Status": "Enabled"})
        self.archiver = make(S3, bucket=self.name, prefix="a/", endpoint=address)
        self.archiver.open()

    def put(self, key: str, content: bytes) -> ObjectRef:
        """Write an object; the reference that its event would carry."""
        done = self.client.put_object(Bucket=self.name, Key=key, Body=content)
        etag = done["ETag"].strip('"')
        return ObjectRef(store="s3", bucket=self.name, key=key, etag=etag, version=done.get("VersionId"))


def failure(call: Any) -> StoreError:
    """The error that a call raises."""
    with pytest.raises(StoreError) as caught:
        call()
    return caught.value


def test_filedir_keeps_bytes_once(tmp_path: Path) -> None:
    """The same bytes twice are one file, readable by its owner only, never executable."""
    archiver = make(Filedir, path=str(tmp_path))
    stored = [archiver.archive(payload(b"MZ"), context(b"MZ")) for _ in range(2)]
    files = [one for one in tmp_path.rglob("*") if one.is_file()]
    assert [str(one) for one in files] == [stored[0]["path"]]
    assert files[0].read_bytes() == b"MZ"
    assert files[0].stat().st_mode & 0o777 == 0o600


def test_filedir_get(tmp_path: Path) -> None:
    """`get` reads a file, refuses what is too large, and says when it is gone."""
    archiver, file = make(Filedir, path=str(tmp_path)), tmp_path / "x y"
    file.write_bytes(b"abc")
    ref = ObjectRef(store="file", bucket="", key=str(file))
    assert archiver.get(ref, MOST).content == b"abc"
    assert failure(lambda: archiver.get(ref, 2)).reason is Reason.TOO_LARGE
    file.unlink()
    assert failure(lambda: archiver.get(ref, MOST)).reason is Reason.NOT_FETCHED


def test_s3_keeps_bytes_once(aws: str) -> None:
    """The same bytes twice are one object and one version."""
    bucket = Bucket(aws, versioned=True)
    for _ in range(2):
        bucket.archiver.archive(payload(b"abc"), context(b"abc"))
    versions = bucket.client.list_object_versions(Bucket=bucket.name)["Versions"]
    assert len(versions) == 1


@pytest.mark.parametrize(
    "key",
    ["plain", "a b+c%20%%.txt", "ünï/コード", "é" * 512, "new\tline", "a//b", "/lead", "a/../b", "trail/"],
)
def test_s3_get_by_odd_names(aws: str, key: str) -> None:
    """Keys of every kind are fetched as they are."""
    bucket = Bucket(aws)
    got = bucket.archiver.get(bucket.put(key, b"abc"), MOST)
    assert got.content == b"abc"
    assert got.name in (key.rpartition("/")[2], key)


def test_s3_pins_the_etag(aws: str) -> None:
    """On an unversioned bucket an overwritten object is `superseded`, and that is permanent."""
    bucket = Bucket(aws)
    ref = bucket.put("k", b"old")
    bucket.put("k", b"new")
    error = failure(lambda: bucket.archiver.get(ref, MOST))
    assert (error.reason, error.retryable) == (Reason.SUPERSEDED, False)


def test_s3_pins_the_version(aws: str) -> None:
    """On a versioned bucket the version that the event named is the one that is scanned."""
    bucket = Bucket(aws, versioned=True)
    ref = bucket.put("k", b"old")
    bucket.put("k", b"new")
    assert bucket.archiver.get(ref, MOST).content == b"old"


def test_s3_gone_and_too_large(aws: str) -> None:
    """A deleted object and one over the limit are permanent, each with its reason."""
    bucket = Bucket(aws)
    ref = bucket.put("k", os.urandom(2000))
    assert failure(lambda: bucket.archiver.get(ref, 1000)).reason is Reason.TOO_LARGE
    bucket.client.delete_object(Bucket=bucket.name, Key="k")
    error = failure(lambda: bucket.archiver.get(ref, MOST))
    assert (error.reason, error.retryable) == (Reason.NOT_FETCHED, False)


def test_s3_large_objects_stream_to_a_file(aws: str) -> None:
    """A large object does not lie on the heap: its body is a descriptor."""
    bucket = Bucket(aws)
    content = os.urandom(6_000_000)
    got = bucket.archiver.get(bucket.put("k", content), MOST)
    assert got.body.fd is not None
    assert got.sha256 == hashlib.sha256(content).hexdigest()


@pytest.mark.timeout(300)
def test_s3_unreachable_is_retryable(aws: str) -> None:
    """A store that does not answer is worth another try."""
    archiver = make(S3, bucket="b", endpoint=f"http://127.0.0.1:{free_port()}")
    archiver.open()
    ref = ObjectRef(store="s3", bucket="b", key="k", etag="e")
    assert failure(lambda: archiver.get(ref, MOST)).retryable
