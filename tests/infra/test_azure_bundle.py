"""Azure's bundle: what stands where, nothing of another cloud, and what its cold start costs."""

from __future__ import annotations

import json
import re
import statistics
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from handlers.local.samples import eicar
from infra import build
from tests.e2e import azure_stack

SETTINGS: dict[str, str] = {}
LIBRARIES = build.CLOUDS["azure"].libraries

OF_OTHERS = {("connector", "firestore"), ("connector", "pubsub")}
"""What a bundle with Google's plugins in it leaves unused."""

CHECK = """
import importlib.metadata, json, logging, pathlib, re
logging.disable(logging.WARNING)  # the SDK warns of every app without HTTP
import function_app, handlers.azure.queue, obstore, py7zr, azure.cosmos, azure.identity, azure.storage.blob
from handlers.bootstrap import BUNDLE
from stoq_core.limits import Deadline
from stoq_core.payload import Request
from stoq_core.pipeline import payload_of
from stoq_core.registry import Registry

assert BUNDLE == pathlib.Path.cwd(), BUNDLE
for module in (function_app, handlers.azure.queue, obstore):
    assert pathlib.Path(module.__cached__).exists(), module
registry = Registry(pathlib.Path("plugins"))
missing = {(one.kind, one.name) for one in registry if registry.missing_library(one.kind, one.name)}
installed = list(importlib.metadata.distributions(path=[sys.path[0]]))
names = {re.sub("[-_.]+", "-", one.name).lower() for one in installed}
for one in installed:
    for wanted in one.requires or ():
        name = re.match(r"[A-Za-z0-9._-]+", wanted)[0]
        if ";" not in wanted and name not in ("pcodedmp", "easygui"):  # never imported, not distributed
            assert re.sub("[-_.]+", "-", name).lower() in names, (one.name, wanted)
[function] = function_app.app.get_functions()
request = Request(scan_id="11111111-1111-4111-8111-111111111111", payloads=[payload_of(b"EICAR")])
response = handlers.azure.queue.PIPELINE.scan(request, Deadline.after_ms(60_000))
said = {"missing": sorted(missing), "installed": sorted(names), "function": function.get_function_name()}
said |= {"verdict": response.verdict.verdict, "ruleset": response.stats.ruleset is not None}
print(json.dumps(said))
""".replace('b"EICAR"', repr(eicar()))

COST = "import resource, {module}; used = resource.getrusage(resource.RUSAGE_SELF); print(used[0] + used[1])"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle as it is deployed, unzipped."""
    azure_stack.interpreter()
    out = tmp_path_factory.mktemp("bundle")
    made = build.build("azure", "x86_64", azure_stack.PYTHON, out, [], [])
    zipfile.ZipFile(made).extractall(out / "wwwroot")
    return out / "wwwroot"


@pytest.mark.e2e
def test_it_starts_alone_and_finds_something(bundle: Path) -> None:
    """With nothing else installed: every plugin that is not another cloud's has its library."""
    done = azure_stack.run(CHECK, bundle, **SETTINGS)
    assert done.stderr == ""
    said = json.loads(done.stdout)
    assert (said["verdict"], said["ruleset"], said["function"]) == ("malicious", True, "scan_queue")
    missing = {tuple(one) for one in said["missing"]}
    assert missing <= {("worker", "tlsh"), ("connector", "dynamodb"), *OF_OTHERS}
    others = re.compile(r"boto|aws|s3transfer|google|gcloud|functions-framework|cloudevents|grpc")
    assert not [one for one in said["installed"] if others.search(one)]


@pytest.mark.e2e
def test_the_platform_finds_what_it_looks_for(bundle: Path) -> None:
    """The app and the host's settings at the root, libraries where the worker looks first."""
    roots = {one.name for one in bundle.iterdir()} - {"__pycache__"}
    code = {"handlers", "plugins", "rules", "stoq_core", "stoq.toml"}
    assert roots == {"function_app.py", "host.json", LIBRARIES.split("/")[0], *code}
    assert {one.name for one in (bundle / "handlers").iterdir()} - {"__pycache__"} == {
        "__init__.py", "first_import.py", "azure", "bootstrap.py", "records.py",
    }  # fmt: skip
    assert (bundle / LIBRARIES / "azure" / "functions" / "__init__.py").exists()


@pytest.mark.e2e
def test_a_cold_start_costs_little_beside_the_bare_sdk(
    bundle: Path, record_property: Callable[[str, object], None]
) -> None:
    """CPU seconds of a process that imports azure.functions, and of one that starts the app; medians of 5."""
    spent: dict[str, list[float]] = {"azure.functions": [], "function_app": []}
    for _ in range(5):
        for module, found in spent.items():
            done = azure_stack.run(COST.format(module=module), bundle, **SETTINGS)
            found.append(float(done.stdout))
    bare, whole = (statistics.median(one) for one in spent.values())
    record_property("cpu_ms", {"azure.functions": round(bare * 1000), "function_app": round(whole * 1000)})
    assert whole <= bare + 0.3, (bare, whole)
