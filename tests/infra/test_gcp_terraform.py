"""infra/gcp: it parses, names only what is there, grants only what is needed, and agrees with the rest."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import hcl2
import pytest

from handlers import bootstrap
from infra.build import CLOUDS, ROOT
from plugins.connectors import firestore
from stoq_core.attempts import SAFE_MODE_DELIVERY
from stoq_core.limits import MiB
from stoq_core.store import summary_of
from tests.responses import response

FOLDER = ROOT / "infra" / "gcp"
FILES = sorted(FOLDER.glob("*.tf"))
SERVERLESS = (ROOT / "serverless.yml").read_text("utf-8")


def plain(value: Any) -> Any:
    """Values without the quotes, comments and marks that the parser keeps."""
    if isinstance(value, dict):
        return {plain(name): plain(one) for name, one in value.items() if not name.startswith("__")}
    if isinstance(value, list):
        return [plain(one) for one in value]
    if isinstance(value, str) and len(value) > 1 and value[0] == value[-1] == '"':
        return value[1:-1].replace('\\"', '"')
    return value


def blocks(kind: str) -> Iterator[dict[str, Any]]:
    """All blocks of a kind, of all files."""
    for file in FILES:
        yield from plain(hcl2.loads(file.read_text("utf-8"))).get(kind, [])


RESOURCES = {
    f"{kind}.{name}": body for block in blocks("resource") for kind, named in block.items()
    for name, body in named.items()
}  # fmt: skip
FUNCTION = RESOURCES["google_cloudfunctions2_function.scan"]
SERVICE = FUNCTION["service_config"][0]
SETTINGS: dict[str, str] = SERVICE["environment_variables"]
PUSH = RESOURCES["google_pubsub_subscription.incoming"]


def of(kind: str) -> dict[str, dict[str, Any]]:
    """The resources of a kind, by name."""
    return {name.partition(".")[2]: one for name, one in RESOURCES.items() if name.startswith(f"{kind}.")}


def default(name: str) -> Any:
    """A variable's."""
    return next(block[name]["default"] for block in blocks("variable") if name in block)


def number(pattern: str) -> int:
    """A number in serverless.yml."""
    found = re.search(pattern, SERVERLESS)
    assert found, pattern
    return int(found[1])


def seconds(text: str) -> int:
    """Of a duration such as 600s."""
    return int(text.removesuffix("s"))


def test_every_reference_leads_somewhere() -> None:
    """No resource, variable or local is named that is not declared; none is declared for nothing."""
    code = re.sub(r"(?m)^\s*#.*", "", "\n".join(one.read_text("utf-8") for one in FILES))
    declared = {
        f"data.{kind}.{name}" for block in blocks("data") for kind, named in block.items() for name in named
    }
    named = set(re.findall(r"(?<![\w.\"/])((?:data\.)?google_\w+\.\w+)", code))
    assert named <= set(RESOURCES) | declared
    variables = {name for block in blocks("variable") for name in block}
    assert set(re.findall(r"\bvar\.(\w+)", code)) == variables
    assert set(re.findall(r"\blocal\.(\w+)", code)) == {name for block in blocks("locals") for name in block}


def test_it_is_formatted() -> None:
    """As `terraform fmt` has it."""
    terraform = shutil.which("terraform")
    if terraform is None:
        pytest.skip("no terraform, which looks at the format of infra/gcp")
    done = subprocess.run([terraform, f"-chdir={FOLDER}", "fmt", "-check"], capture_output=True, check=False)
    assert done.returncode == 0, done.stdout


def test_every_bucket_is_private_versioned_and_encrypted() -> None:
    """No public access, roles by bucket alone, versions, a key of one's own that turns; payloads stay."""
    buckets = of("google_storage_bucket")
    assert set(buckets) == {"incoming", "archive", "source"}
    for name, one in buckets.items():
        assert one["public_access_prevention"] == "enforced", name
        assert one["uniform_bucket_level_access"] is True, name
        assert one["versioning"] == [{"enabled": True}], name
        assert one["encryption"][0]["default_kms_key_name"] == "${google_kms_crypto_key.stoq.id}", name
        assert "force_destroy" not in one, name
    key = RESOURCES["google_kms_crypto_key.stoq"]
    assert seconds(key["rotation_period"]) <= 90 * 24 * 3600
    for one in (buckets["incoming"], buckets["archive"], key):
        assert one["lifecycle"] == [{"prevent_destroy": True}]
    topics = of("google_pubsub_topic")
    assert {one["kms_key_name"] for one in topics.values()} == {"${google_kms_crypto_key.stoq.id}"}


def test_the_function_is_closed_to_the_world() -> None:
    """Only Pub/Sub's account may invoke it, from inside; nobody has a key; nothing is for everybody."""
    assert SERVICE["ingress_settings"] == "ALLOW_INTERNAL_ONLY"
    assert {one["member"] for one in of("google_cloud_run_service_iam_member").values()} == {
        "${google_service_account.push.member}"
    }
    [token] = PUSH["push_config"][0]["oidc_token"]
    assert token["service_account_email"] == "${google_service_account.push.email}"
    assert token["audience"] == PUSH["push_config"][0]["push_endpoint"]
    text = "\n".join(one.read_text("utf-8") for one in FILES)
    assert not re.search(r"allUsers|allAuthenticatedUsers|service_account_key|private_key|password", text)


def test_each_identity_may_what_it_needs_and_no_more() -> None:
    """All of who may do what where; the scanner neither reads the archive nor changes what came in."""
    places = ("bucket", "topic", "subscription", "service", "crypto_key_id", "project")
    roles = set()
    for name, one in RESOURCES.items():
        if "_iam_" in name and "member" in one:
            who = re.sub(r"\$\{(?:google_service_account|local)\.(\w+)(?:\.member)?\}", r"\1", one["member"])
            where = next(one[key] for key in places if key in one)
            where = re.sub(r"\$\{(?:google_)?([\w.]+?)(?:\.(?:name|id))?\}", r"\1", where)
            role = re.sub(r"\$\{google_project_iam_custom_role\.(\w+)\.id\}", r"\1", one["role"])
            roles.add((who, where, role.rpartition("/")[2]))
    assert roles == {
        ("scan", "storage_bucket.incoming", "storage.objectViewer"),
        ("scan", "storage_bucket.archive", "adds_objects"),
        ("scan", "var.project", "datastore.user"),
        ("push", "cloudfunctions2_function.scan", "run.invoker"),
        ("gcs", "pubsub_topic.incoming", "pubsub.publisher"),
        ("pubsub", "pubsub_topic.dead_letters", "pubsub.publisher"),
        ("pubsub", "pubsub_subscription.incoming", "pubsub.subscriber"),
        ("gcs", "kms_crypto_key.stoq", "cloudkms.cryptoKeyEncrypterDecrypter"),
        ("pubsub", "kms_crypto_key.stoq", "cloudkms.cryptoKeyEncrypterDecrypter"),
        ("build", "storage_bucket.source", "storage.objectViewer"),
        ("build", "var.project", "logging.logWriter"),
        ("build", "var.project", "artifactregistry.writer"),
    }
    [condition] = RESOURCES["google_project_iam_member.scan_stores"]["condition"]
    assert "google_firestore_database.results.name" in condition["expression"]
    adds = RESOURCES["google_project_iam_custom_role.adds_objects"]
    assert adds["permissions"] == ["storage.objects.create", "storage.objects.list"]


def test_times_fit_into_each_other() -> None:
    """Call < platform's timeout < acknowledgement; the platform's and the settings' call are one number."""
    limits = bootstrap.configured(settings()).limits
    assert limits.request_wall_ms == SERVICE["timeout_seconds"] * 1000
    assert SERVICE["timeout_seconds"] <= 540  # what an event-driven function may have
    assert SERVICE["timeout_seconds"] + 30 <= PUSH["ack_deadline_seconds"] <= 600
    assert limits.reserve_ms < limits.request_wall_ms


def test_one_object_an_instance_at_a_time() -> None:
    """So memory is the scan's own, as on AWS with a batch of one."""
    assert SERVICE["max_instance_request_concurrency"] == 1
    assert number(r"batchSize: (\d+)") == 1


def test_it_agrees_with_aws() -> None:
    """Timeout, memory, tries, retention, workers and concurrency are those of serverless.yml."""
    assert SERVICE["timeout_seconds"] == number(r"STOQ_DEPLOY_TIMEOUT, (\d+)")
    memory = number(r"memorySize: (\d+)")
    assert SERVICE["available_memory"] == f"{memory}Mi"
    assert default("instances") == number(r"STOQ_DEPLOY_CONCURRENCY, (\d+)")
    tries = PUSH["dead_letter_policy"][0]["max_delivery_attempts"]
    assert tries == number(r"maxReceiveCount: (\d+)")
    assert tries > SAFE_MODE_DELIVERY  # a bad file becomes data before it becomes a dead letter
    retention = number(r"MessageRetentionPeriod: (\d+)")
    for one in of("google_pubsub_subscription").values():
        assert seconds(one["message_retention_duration"]) == retention
        assert one["expiration_policy"] == [{"ttl": ""}]
    always = re.search(r"STOQ_DEPLOY_ALWAYS, '(.*?)'", SERVERLESS)
    assert always
    assert json.loads(default("always")) == json.loads(always[1])


def test_memory_holds_what_the_limits_allow() -> None:
    """The disk is memory, so there is no scratch folder: what is held, one payload and its copy fit in."""
    limits = bootstrap.configured(settings()).limits
    memory = int(SERVICE["available_memory"].removesuffix("Mi")) * MiB
    assert "STOQ_SCRATCH" not in SETTINGS
    assert limits.held_bytes + 2 * limits.payload_bytes < memory / 2


def settings() -> dict[str, str]:
    """The function's environment with names in place of references."""
    return {name: default("always") if text == "${var.always}" else text for name, text in SETTINGS.items()}


def test_the_settings_are_settings() -> None:
    """The core knows each of them, and what listens is not where anything is written."""
    config = bootstrap.configured(settings())
    assert config.scan.fetch == {"gcs": "gcs"}
    assert list(config.scan.connectors) == ["firestore"]
    assert config.trigger["bucket"] != config.options_of("archiver", "gcs")["bucket"]


def test_the_bundle_is_the_one_that_is_built() -> None:
    """The file's name, the runtime's Python and the entry point in main.py."""
    assert default("bundle").endswith(f"build/stoq-gcp-{CLOUDS['gcp'].archs[0]}.zip")
    build = FUNCTION["build_config"][0]
    assert build["runtime"] == "python313"
    assert (ROOT / "handlers" / "gcp" / f"{build['entry_point']}.py").exists()
    assert 'default="3.13"' in (ROOT / "infra" / "build.py").read_text("utf-8")


def test_the_indexes_are_those_that_are_asked() -> None:
    """By verdict and time, by digest over all parts; and the fields are those that are written."""
    collection = firestore.FirestoreOptions().collection
    index = RESOURCES["google_firestore_index.by_verdict"]
    assert index["collection"] == collection
    assert [one["field_path"] for one in index["fields"]] == ["verdict", "time"]
    made = response()
    head = firestore._head_of(made, "t", [])
    assert {"verdict", "time", "findings"} <= head.keys()
    assert head["verdict"] == summary_of(made).verdict
    fields = {field for part in firestore._parts(made, "t").values() for field in part}
    assert fields == {one["field"] for one in of("google_firestore_field").values()}
    assert {one["collection"] for one in of("google_firestore_field").values()} == {"parts"}
