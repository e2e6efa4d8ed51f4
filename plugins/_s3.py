"""What the S3 plugins share: the options of a bucket, and a client by the platform's own role."""

from __future__ import annotations

from typing import Annotated, Any

from plugins._objects import Objects
from stoq_core.options import Options, about


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
