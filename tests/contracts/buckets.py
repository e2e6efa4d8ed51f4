"""The object stores that the archivers' contract runs on: how each makes a bucket and fills it."""

from __future__ import annotations

import uuid
from typing import Any, ClassVar

from plugins.archivers.azure_blob import AzureBlob
from plugins.archivers.gcs import Gcs
from plugins.archivers.s3 import S3
from stoq_core.payload import ObjectRef
from stoq_core.testing import make
from tests import gcs, servers

ODD = ("plain", "a b+c%20%%.txt", "ünï/コード", "é" * 512, "new\tline", "a//b", "/lead", "trail/")


class Bucket:
    """A new bucket with an archiver on it."""

    store: ClassVar[str]
    fixture: ClassVar[str]
    """The fixture that gives the address of the server."""
    versions: ClassVar[bool]
    """Whether the server keeps them."""
    odd: ClassVar[tuple[str, ...]] = ODD
    archiver: Any

    def __init__(self, address: str, *, versioned: bool = False) -> None:
        """Make it."""
        raise AssertionError

    def at(self, address: str) -> Any:
        """An archiver for the same bucket at another address."""
        raise AssertionError

    def put(self, key: str, content: bytes) -> ObjectRef:
        """Write an object; the reference that its event would carry."""
        raise AssertionError

    def delete(self, key: str) -> None:
        """Delete it."""
        raise AssertionError

    def writes(self, key: str) -> int:
        """How often an object was written: 1 if it is as it was created."""
        raise AssertionError


class S3Bucket(Bucket):
    """S3 by moto."""

    store, fixture, versions = "s3", "aws", True
    odd = (*ODD, "a/../b")

    def __init__(self, address: str, *, versioned: bool = False) -> None:
        """One that keeps versions or none."""
        import boto3

        self.client = boto3.client("s3", endpoint_url=address)
        self.name = f"t-{uuid.uuid4().hex[:12]}"
        self.client.create_bucket(Bucket=self.name)
        status = {"Status": "Enabled" if versioned else "Suspended"}
        self.client.put_bucket_versioning(Bucket=self.name, VersioningConfiguration=status)
        self.archiver = self.at(address)

    def at(self, address: str) -> Any:
        """An archiver for the same bucket at another address."""
        archiver = make(S3, bucket=self.name, prefix="a/", endpoint=address)
        archiver.open()
        return archiver

    def put(self, key: str, content: bytes) -> ObjectRef:
        """Write an object; the reference that its event would carry."""
        done = self.client.put_object(Bucket=self.name, Key=key, Body=content)
        version = done.get("VersionId")
        etag = done["ETag"].strip('"')
        pin = None if version == "null" else version
        return ObjectRef(store="s3", bucket=self.name, key=key, etag=etag, version=pin)

    def delete(self, key: str) -> None:
        """Delete it."""
        self.client.delete_object(Bucket=self.name, Key=key)

    def writes(self, key: str) -> int:
        """Its versions; without them a second one cannot be told from the first by S3."""
        found = self.client.list_object_versions(Bucket=self.name, Prefix=key)["Versions"]
        return len(found)


class BlobContainer(Bucket):
    """Azure Blob by azurite."""

    store, fixture, versions = "azure_blob", "azure", False

    def __init__(self, address: str, *, versioned: bool = False) -> None:
        """Azurite keeps no versions."""
        from azure.storage.blob import ContainerClient

        assert not versioned
        self.address = address
        name = f"t-{uuid.uuid4().hex[:12]}"
        self.client = ContainerClient(address, name, credential=servers.AZURITE)
        self.client.create_container()
        self.archiver = self.at(address)

    def at(self, address: str) -> Any:
        """An archiver for the same container at another address."""
        archiver = make(
            AzureBlob,
            account=servers.AZURITE["account_name"],
            container=self.client.container_name,
            prefix="a/",
            endpoint=address,
        )
        archiver.open()
        return archiver

    def put(self, key: str, content: bytes) -> ObjectRef:
        """Write a blob; the reference that its event would carry."""
        done = self.client.get_blob_client(key).upload_blob(content, overwrite=True)
        etag = done["etag"].strip('"')
        return ObjectRef(store="azure_blob", bucket=self.archiver.options.bucket, key=key, etag=etag)

    def delete(self, key: str) -> None:
        """Delete it."""
        self.client.delete_blob(key)

    def writes(self, key: str) -> int:
        """1 if nothing has changed it since it was made."""
        found = self.client.get_blob_client(key).get_blob_properties()
        return 1 if found.creation_time == found.last_modified and found.etag else 2


class GcsBucket(Bucket):
    """Google Cloud Storage by fake-gcs-server."""

    store, fixture, versions = "gcs", "google", True
    odd = (*ODD, "a/../b")

    def __init__(self, address: str, *, versioned: bool = False) -> None:
        """One that keeps versions or none."""
        from google.cloud import storage

        client = gcs.client(address)
        self.client = storage.Bucket(client, f"t-{uuid.uuid4().hex[:12]}")
        self.client.versioning_enabled = versioned
        client.create_bucket(self.client)
        self.archiver = self.at(address)

    def at(self, address: str) -> Any:
        """An archiver for the same bucket at another address."""
        archiver = make(Gcs, bucket=self.client.name, prefix="a/", endpoint=address)
        archiver.open()
        return archiver

    def put(self, key: str, content: bytes) -> ObjectRef:
        """Write an object; the reference that its event would carry."""
        blob = self.client.blob(key)
        blob.upload_from_string(content)
        return ObjectRef(store="gcs", bucket=self.client.name, key=key, version=str(blob.generation))

    def delete(self, key: str) -> None:
        """Delete it."""
        self.client.blob(key).delete()

    def writes(self, key: str) -> int:
        """Its generations."""
        return sum(one.name == key for one in self.client.list_blobs(prefix=key, versions=True))


KINDS: dict[str, type[Bucket]] = {one.store: one for one in (S3Bucket, BlobContainer, GcsBucket)}
