"""infra/azure: it parses, names only what is there, grants only what is needed, and agrees with the rest."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from typing import Any

import hcl2
import pytest

from handlers import bootstrap
from infra.build import CLOUDS, ROOT
from plugins.connectors import cosmosdb
from stoq_core.attempts import SAFE_MODE_DELIVERY
from stoq_core.limits import GiB, MiB
from tests.responses import response

FOLDER = ROOT / "infra" / "azure"
SERVERLESS = (ROOT / "serverless.yml").read_text("utf-8")
RESERVE_S = 30
"""What the host needs beside a call's own time, to stop it and to tell of it."""


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
    for file in sorted(FOLDER.glob("*.tf")):
        yield from plain(hcl2.loads(file.read_text("utf-8"))).get(kind, [])


RESOURCES = {
    f"{kind}.{name}": body for block in blocks("resource") for kind, named in block.items()
    for name, body in named.items()
}  # fmt: skip
HOST = json.loads((FOLDER / "host.json").read_text("utf-8"))
APP = RESOURCES["azurerm_function_app_flex_consumption.scan"]
SETTINGS: dict[str, str] = APP["app_settings"]
ACCOUNTS = {name: one for name, one in RESOURCES.items() if name.startswith("azurerm_storage_account.")}


def resolved(text: str) -> str:
    """A text with the names and variables' defaults that Terraform would put in; others stay."""
    defaults = {name: one.get("default") for block in blocks("variable") for name, one in block.items()}

    def value(found: re.Match[str]) -> str:
        path = found[1]
        if path.startswith("var."):
            return str(defaults[path[4:]])
        resource, _, attribute = path.rpartition(".")
        known = RESOURCES.get(resource, {}).get(attribute)
        return resolved(known) if isinstance(known, str) else found[0]

    return re.sub(r"\$\{([\w.]+)\}", value, text)


def test_every_reference_leads_somewhere() -> None:
    """No resource, variable or local is named that is not declared; none is declared for nothing."""
    text = "\n".join(one.read_text("utf-8") for one in sorted(FOLDER.glob("*.tf")))
    code = re.sub(r"(?m)^\s*#.*", "", text)
    named = set(re.findall(r"(?<![\w.\"/])(azurerm_\w+\.\w+)", code))
    assert named <= set(RESOURCES)
    variables = {name for block in blocks("variable") for name in block}
    assert set(re.findall(r"\bvar\.(\w+)", code)) == variables
    assert set(re.findall(r"\blocal\.(\w+)", code)) == {name for block in blocks("locals") for name in block}


def test_every_account_is_private_and_encrypted() -> None:
    """No keys, no public blobs, TLS 1.2, encrypted twice; payloads have versions and stay."""
    assert len(ACCOUNTS) == 3
    for name, one in ACCOUNTS.items():
        assert one["shared_access_key_enabled"] is False, name
        assert one["allow_nested_items_to_be_public"] is False, name
        assert one["cross_tenant_replication_enabled"] is False, name
        assert one["https_traffic_only_enabled"] is True, name
        assert one["infrastructure_encryption_enabled"] is True, name
        assert one["min_tls_version"] == "TLS1_2", name
    for name in ("incoming", "archive"):
        one = ACCOUNTS[f"azurerm_storage_account.{name}"]
        assert one["blob_properties"][0]["versioning_enabled"] is True
        assert one["lifecycle"][0]["prevent_destroy"] is True
    containers = [one for name, one in RESOURCES.items() if name.startswith("azurerm_storage_container.")]
    assert {one["container_access_type"] for one in containers} == {"private"}


def test_nobody_has_a_key() -> None:
    """Identities alone: no account key, no connection string with one, in no file."""
    text = "\n".join(one.read_text("utf-8") for one in FOLDER.iterdir() if one.is_file())
    assert not re.search(r"access_key\b(?!_enabled)|primary_key|AccountKey|SharedAccess|sas_token", text)
    assert RESOURCES["azurerm_cosmosdb_account.results"]["local_authentication_disabled"] is True
    assert RESOURCES["azurerm_application_insights.stoq"]["local_authentication_disabled"] is True
    assert APP["storage_authentication_type"] == "UserAssignedIdentity"
    client = "${azurerm_user_assigned_identity.scan.client_id}"
    for prefix in ("AzureWebJobsStorage", "Incoming"):
        assert SETTINGS[f"{prefix}__credential"] == "managedidentity"
        assert SETTINGS[f"{prefix}__clientId"] == client
    assert SETTINGS["AZURE_CLIENT_ID"] == client  # obstore and azure.identity take it from there


def test_each_identity_may_what_it_needs_and_no_more() -> None:
    """All of who may do what where; the scanner neither reads the archive nor changes what came in."""
    roles = {}
    for name, one in RESOURCES.items():
        if name.startswith("azurerm_role_assignment."):
            who = one["principal_id"].split(".")[1]
            role = one.get("role_definition_name") or one["role_definition_id"].split(".")[1]
            where = resolved(one["scope"]).replace("${azurerm_storage_account.", "").replace(".id}", "")
            roles[(who, where)] = role
    queues = "incoming/queueServices/default/queues"
    assert roles == {
        ("scan", "incoming/blobServices/default/containers/incoming"): "Storage Blob Data Reader",
        ("scan", "archive/blobServices/default/containers/archive"): "adds_blobs",
        ("scan", f"{queues}/stoq-incoming"): "Storage Queue Data Contributor",
        ("scan", f"{queues}/stoq-incoming-poison"): "Storage Queue Data Contributor",
        ("scan", "host"): "Storage Blob Data Owner",
        ("scan", "${azurerm_application_insights.stoq"): "Monitoring Metrics Publisher",
        ("incoming", f"{queues}/stoq-incoming"): "Storage Queue Data Message Sender",
        ("incoming", "incoming/blobServices/default/containers/undelivered"): "Storage Blob Data Contributor",
    }
    adds = RESOURCES["azurerm_role_definition.adds_blobs"]["permissions"]
    assert [one for part in adds for one in part["data_actions"]] == [
        "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/add/action"
    ]
    stores = RESOURCES["azurerm_cosmosdb_sql_role_definition.stores_results"]["permissions"][0][
        "data_actions"
    ]
    kinds = {one.rpartition("/")[2] for one in stores}
    assert kinds == {"readMetadata", "executeQuery", "create", "read", "replace", "upsert", "delete"}
    scope = RESOURCES["azurerm_cosmosdb_sql_role_assignment.scan_stores_results"]["scope"]
    assert resolved(scope).endswith("/dbs/stoq/colls/results")


def test_events_come_to_the_queue_that_the_function_listens_on() -> None:
    """Blobs created in the incoming container, in a schema that is read, through the topic's own identity."""
    subscription = RESOURCES["azurerm_eventgrid_system_topic_event_subscription.incoming"]
    assert subscription["included_event_types"] == ["Microsoft.Storage.BlobCreated"]
    assert subscription["event_delivery_schema"] == "CloudEventSchemaV1_0"
    begins = resolved(subscription["subject_filter"][0]["subject_begins_with"])
    assert begins == f"/blobServices/default/containers/{resolved(SETTINGS['STOQ_TRIGGER__BUCKET'])}/"
    endpoint = subscription["storage_queue_endpoint"][0]
    queue = resolved(SETTINGS["STOQ_TRIGGER__QUEUE"])
    assert resolved(endpoint["queue_name"]) == queue
    assert resolved(RESOURCES["azurerm_storage_queue.poison"]["name"]) == f"{queue}-poison"  # the host's rule
    assert subscription["delivery_identity"] == [{"type": "SystemAssigned"}]
    assert subscription["storage_blob_dead_letter_destination"]
    # Event Grid's most, of both
    assert subscription["retry_policy"] == [{"max_delivery_attempts": 30, "event_time_to_live": 1440}]


def seconds(text: str) -> int:
    """Of hh:mm:ss."""
    hours, minutes, rest = map(int, text.split(":"))
    return hours * 3600 + minutes * 60 + rest


def config() -> Any:
    """The settings as the function reads them; what only Azure knows is put in as text."""
    settings = {name: resolved(value) for name, value in SETTINGS.items() if name.startswith("STOQ_")}
    settings["STOQ_CONNECTOR__COSMOSDB__ENDPOINT"] = "https://results.documents.azure.com"
    settings["STOQ_SCRATCH"] = ""
    return bootstrap.configured(settings)


def test_the_function_starts_with_these_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every setting is known, every plugin opens, nothing is written where the trigger listens."""
    found = config()
    assert found.deployment == "${local.name}"
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "a2V5")
    made = bootstrap.pipeline(found)
    assert set(made.broker.archivers) == {"azure_blob"}
    assert set(made.broker.connectors) == {"cosmosdb"}
    assert set(made.broker.fetchers) == {"azure_blob"}
    made.close()


def test_times_and_retries_agree() -> None:
    """A call ends before the host ends it; safe mode comes before the poison queue; one at a time."""
    queues = HOST["extensions"]["queues"]
    limits = config().limits
    assert seconds(HOST["functionTimeout"]) >= limits.request_wall_ms / 1000 + RESERVE_S
    assert SAFE_MODE_DELIVERY < queues["maxDequeueCount"] == 5
    assert (queues["batchSize"], queues["newBatchThreshold"]) == (1, 0)
    # a store that is away for a quarter of an hour poisons nothing
    assert seconds(queues["visibilityTimeout"]) * (queues["maxDequeueCount"] - 1) >= 15 * 60
    assert HOST["extensions"]["blobs"]["poisonBlobThreshold"] == queues["maxDequeueCount"]
    assert queues["messageEncoding"] == "base64"  # Event Grid's
    # the function's own lines are printed: another level would lose them
    assert HOST["logging"]["logLevel"]["Host.Function.Console"] == "Information"


def test_memory_and_disk_hold_what_the_limits_allow() -> None:
    """What is held, one payload while it comes and one beside it, and a sandbox; /tmp has 0.8 GB."""
    limits = config().limits
    needed = limits.held_bytes + 2 * limits.payload_bytes + 512 * MiB
    assert APP["instance_memory_in_mb"] * MiB >= needed
    assert limits.extracted_bytes <= 0.8 * GiB
    assert APP["instance_memory_in_mb"] in (2048, 4096)


def test_the_plan_runs_what_is_built() -> None:
    """Python, architecture and the zip's name are the build's."""
    assert APP["runtime_name"] == "python"
    assert f'"--python", default="{APP["runtime_version"]}"' in (ROOT / "infra" / "build.py").read_text(
        "utf-8"
    )
    [arch] = CLOUDS["azure"].archs
    assert f"build/stoq-azure-{arch}.zip" in (FOLDER / "deploy.sh").read_text("utf-8")
    assert RESOURCES["azurerm_service_plan.stoq"]["sku_name"] == "FC1"
    subprocess.run(["bash", "-n", str(FOLDER / "deploy.sh")], check=True)


def test_the_container_is_the_connectors() -> None:
    """Partition key and paths are those of the items; what is searched or sorted by is indexed."""
    container = RESOURCES["azurerm_cosmosdb_sql_container.results"]
    assert container["partition_key_paths"] == ["/scan_id"]
    saved = response(score=1000)
    items = [
        cosmosdb._head_item(saved, "t", 1),
        *cosmosdb._pieces(saved, "t"),
        *cosmosdb._searchable(saved, "t"),
    ]
    fields = {name for one in items for name in one}
    policy = container["indexing_policy"][0]
    left_out = {one["path"].strip("/?*") for one in policy["excluded_path"]}
    assert left_out == {"data", "payload_ids", "summary"} < fields
    searched = {"scan_id", "kind", "time", "verdict", "findings", "sha256", "names", "id"}
    assert searched <= fields - left_out
    assert [one["path"] for one in policy["included_path"]] == ["/*"]
    assert resolved(SETTINGS["STOQ_CONNECTOR__COSMOSDB__CONTAINER"]) == "results"


def test_azure_agrees_with_aws() -> None:
    """Workers, memory, time, deliveries, retention and Python are the same on both."""

    def aws(pattern: str) -> str:
        [found] = re.findall(pattern, SERVERLESS)
        return str(found)

    assert resolved(SETTINGS["STOQ_SCAN__ALWAYS"]) == aws(r"STOQ_DEPLOY_ALWAYS, '(.*?)'")
    assert APP["instance_memory_in_mb"] == int(aws(r"memorySize: (\d+)"))
    assert config().limits.request_wall_ms == int(aws(r"STOQ_DEPLOY_TIMEOUT, (\d+)")) * 1000
    assert HOST["extensions"]["queues"]["maxDequeueCount"] == int(aws(r"maxReceiveCount: (\d+)"))
    assert HOST["extensions"]["queues"]["batchSize"] == int(aws(r"batchSize: (\d+)"))
    subscription = RESOURCES["azurerm_eventgrid_system_topic_event_subscription.incoming"]
    kept = subscription["storage_queue_endpoint"][0]["queue_message_time_to_live_in_seconds"]
    assert {str(kept)} == set(re.findall(r"MessageRetentionPeriod: (\d+)", SERVERLESS))
    assert f"python{APP['runtime_version']}" == aws(r"STOQ_DEPLOY_RUNTIME, '(.*?)'")
    assert int(resolved("${var.instances}")) == int(aws(r"STOQ_DEPLOY_CONCURRENCY, (\d+)"))
