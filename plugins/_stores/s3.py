"""What the S3 plugins share: the options of a bucket, and a client by the platform's own role."""

from __future__ import annotations

import contextlib
from typing import Annotated, Any

from plugins._stores.objects import Objects, payload_of
from stoq_core.body import BodyWriter
from stoq_core.errors import Reason, StoreError
from stoq_core.limits import MiB
from stoq_core.options import Options, about
from stoq_core.payload import ObjectRef, Payload


class BucketOptions(Options, frozen=True):
    """Where; who may is the platform's role, never a key in the config."""

    bucket: Annotated[str, about("the bucket's name; for an archiver that only fetches it may be empty")] = ""
    prefix: Annotated[str, about("put before every key, such as stoq/")] = ""
    region: Annotated[str, about("empty: as the environment says")] = ""
    endpoint: Annotated[str, about("another endpoint than AWS's, such as an emulator's")] = ""
    kms_key: Annotated[str, about("encrypt with this KMS key; empty: as the bucket says")] = ""


def objects(options: BucketOptions, bucket: str) -> Objects:
    """A client for one bucket."""
    from obstore.store import S3Store

    settings: dict[str, Any] = {}
    if options.region:
        settings["region"] = options.region
    if options.endpoint:
        settings["endpoint"] = options.endpoint
    if options.kms_key:
        settings.update(server_side_encryption="aws:kms", sse_kms_key_id=options.kms_key)
    client: Any = {"timeout": "120s"}
    if options.endpoint.startswith("http://"):
        client["allow_http"] = True
    return Objects(S3Store(bucket, client_options=client, **settings), f"s3://{bucket}")


def fetch_by_sdk(options: BucketOptions, ref: ObjectRef, max_bytes: int) -> Payload:
    """An object whose key obstore cannot name (a tab, `//`, `..`): by boto3, with the same outcomes."""
    import boto3
    from botocore.exceptions import BotoCoreError, ClientError

    client = boto3.client("s3", region_name=options.region or None, endpoint_url=options.endpoint or None)
    pin = {"VersionId": ref.version} if ref.version else {"IfMatch": f'"{ref.etag}"'} if ref.etag else {}
    label = f"s3://{ref.bucket}"
    writer = BodyWriter()
    try:
        found = client.get_object(Bucket=ref.bucket, Key=ref.key, **pin)
        size = found["ContentLength"]
        with contextlib.closing(found["Body"]) as body:
            if size > max_bytes:
                message = f"{label}: {size} bytes are more than limits.payload_bytes ({max_bytes})"
                raise StoreError(message, retryable=False, reason=Reason.TOO_LARGE)
            for chunk in body.iter_chunks(MiB):
                writer.write(chunk)
    except ClientError as error:
        code = str(error.response["Error"]["Code"])
        if code in ("PreconditionFailed", "412"):
            message = f"{label}: a newer version stands there"
            raise StoreError(message, retryable=False, reason=Reason.SUPERSEDED) from None
        if code in ("NoSuchKey", "NoSuchVersion", "404"):
            message = f"{label}: the object is gone"
            raise StoreError(message, retryable=False, reason=Reason.NOT_FETCHED) from None
        raise StoreError(f"{label}: {code}", retryable=True) from None
    except BotoCoreError as error:
        raise StoreError(f"{label}: {type(error).__name__}", retryable=True) from None
    return payload_of(ref, writer)
