"""What every archiver must do; each store runs all of it."""

from __future__ import annotations

import gzip
import hashlib
import os
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from plugins.archivers.filedir import Filedir
from plugins.archivers.gcs import Gcs
from stoq_core.errors import Reason, StoreError
from stoq_core.payload import ObjectRef
from stoq_core.plugin import ArchiveContext
from stoq_core.testing import make, payload
from tests import gcs
from tests.contracts.buckets import KINDS, Bucket, GcsBucket
from tests.servers import free_port

MOST = 10_000_000


def context(content: bytes) -> ArchiveContext:
    """What the pipeline hands over."""
    return ArchiveContext(scan_id="s", sha256=hashlib.sha256(content).hexdigest(), report=None)


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


@pytest.fixture(params=KINDS)
def made(request: pytest.FixtureRequest) -> Callable[..., Bucket]:
    """Makes a bucket of each kind in turn; `versioned=None`: where the server can, True: or skip."""

    def make_one(*, versioned: bool | None = False) -> Bucket:
        kind = KINDS[request.param]
        if versioned is None:
            versioned = kind.versions
        if versioned and not kind.versions:
            pytest.skip(f"the emulator of {request.param} keeps no versions")
        return kind(request.getfixturevalue(kind.fixture), versioned=versioned)

    return make_one


def test_bytes_are_kept_once(made: Callable[..., Bucket]) -> None:
    """The same bytes twice are one object, written once; the reference that comes back fetches them."""
    bucket = made(versioned=None)
    stored = [bucket.archiver.archive(payload(b"abc"), context(b"abc")) for _ in range(2)]
    assert stored[0] == stored[1]
    assert bucket.writes(stored[0]["key"]) == 1
    ref = ObjectRef(store=bucket.store, **stored[0])
    assert bucket.archiver.get(ref, MOST).content == b"abc"


def test_large_bytes_are_kept_whole(made: Callable[..., Bucket]) -> None:
    """20 MB in one piece, created on condition like everything else."""
    bucket, content = made(), os.urandom(20_000_000)
    stored = bucket.archiver.archive(payload(content), context(content))
    got = bucket.archiver.get(ObjectRef(store=bucket.store, **stored), 2 * MOST)
    assert got.sha256 == context(content).sha256


@pytest.mark.parametrize(
    ("made", "key"), [(kind, key) for kind, one in KINDS.items() for key in one.odd], indirect=["made"]
)
def test_get_by_odd_names(made: Callable[..., Bucket], key: str) -> None:
    """Keys of every kind that the store takes are fetched as they are."""
    bucket = made()
    got = bucket.archiver.get(bucket.put(key, b"abc"), MOST)
    assert got.content == b"abc"
    assert got.name in (key.rpartition("/")[2], key)


@pytest.mark.parametrize("key", ["k", "a//k"])
def test_the_etag_is_pinned(made: Callable[..., Bucket], key: str) -> None:
    """Without versions an overwritten object is `superseded`, and that is permanent."""
    bucket = made()
    ref = bucket.put(key, b"old")
    bucket.put(key, b"new")
    error = failure(lambda: bucket.archiver.get(ref, MOST))
    assert (error.reason, error.retryable) == (Reason.SUPERSEDED, False)


def test_the_version_is_pinned(made: Callable[..., Bucket]) -> None:
    """On a versioned bucket the version that the event named is the one that is scanned."""
    bucket = made(versioned=True)
    ref = bucket.put("k", b"old")
    bucket.put("k", b"new")
    assert bucket.archiver.get(ref, MOST).content == b"old"


@pytest.mark.parametrize("key", ["k", "a//k"])
def test_gone_and_too_large(made: Callable[..., Bucket], key: str) -> None:
    """A deleted object and one over the limit are permanent, each with its reason."""
    bucket = made()
    ref = bucket.put(key, os.urandom(2000))
    assert failure(lambda: bucket.archiver.get(ref, 1000)).reason is Reason.TOO_LARGE
    bucket.delete(key)
    error = failure(lambda: bucket.archiver.get(ref, MOST))
    assert (error.reason, error.retryable) == (Reason.NOT_FETCHED, False)


@pytest.mark.parametrize("key", ["k", "a//k"])
def test_large_objects_stream_to_a_file(made: Callable[..., Bucket], key: str) -> None:
    """A large object does not lie on the heap: its body is a descriptor."""
    bucket = made()
    content = os.urandom(6_000_000)
    got = bucket.archiver.get(bucket.put(key, content), MOST)
    assert got.body.fd is not None
    assert got.sha256 == hashlib.sha256(content).hexdigest()


@pytest.mark.timeout(300)
def test_unreachable_is_retryable(made: Callable[..., Bucket]) -> None:
    """A store that does not answer is worth another try."""
    archiver = made().at(f"http://127.0.0.1:{free_port()}")
    ref = ObjectRef(store="any", bucket=archiver.options.bucket, key="k", etag="e")
    assert failure(lambda: archiver.get(ref, MOST)).retryable


@pytest.mark.parametrize("key", ["k", "a//k"])
@pytest.mark.parametrize("content", [gzip.compress(b"inner"), b"no gzip at all"])
def test_gcs_bytes_are_as_stored(google: str, key: str, content: bytes) -> None:
    """What an uploader claims about an encoding unpacks nothing on the way and hides nothing."""
    bucket = GcsBucket(google)
    blob = bucket.client.blob(key)
    blob.content_encoding = "gzip"
    blob.upload_from_string(content)
    ref = ObjectRef(store="gcs", bucket=bucket.client.name, key=key, version=str(blob.generation))
    assert bucket.archiver.get(ref, MOST).content == content


@pytest.mark.parametrize("key", ["k", "a//k"])
def test_gcs_an_older_generation_that_stands_again(google: str, key: str) -> None:
    """Only a newer generation supersedes; an object that was deleted is gone whatever stood before."""
    bucket = GcsBucket(google)
    older = bucket.put(key, b"older")
    newer = msgspec.structs.replace(older, version=str(int(older.version or 0) + 1))
    assert failure(lambda: bucket.archiver.get(newer, MOST)).reason is Reason.NOT_FETCHED


@pytest.mark.parametrize("layout", ["sha256", "date"])
def test_gcs_an_identity_that_may_only_add_keeps_bytes_once(google: str, layout: str) -> None:
    """It is denied a second write of the same bytes, sees that they are there, and that is all right."""
    name = f"{gcs.ADD_ONLY}{uuid.uuid4().hex[:12]}"
    bucket = gcs.client(google).create_bucket(name)
    archiver = make(Gcs, bucket=name, prefix="a/", layout=layout, endpoint=google)
    archiver.open()
    for content in (b"abc", b"other", b"abc", b"abc"):
        archiver.archive(payload(content), context(content))
    assert sum(1 for _ in bucket.list_blobs(versions=True)) == 2


def test_gcs_what_cannot_be_written_is_a_failure(google: str) -> None:
    """A bucket that is not there holds nothing: worth another try, and never taken for archived."""
    archiver = make(Gcs, bucket="gone", endpoint=google)
    archiver.open()
    assert failure(lambda: archiver.archive(payload(b"abc"), context(b"abc"))).retryable
