"""Google's bundle: what stands where, nothing of another cloud, and what its cold start costs."""

from __future__ import annotations

import json
import re
import statistics
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from handlers.local.samples import eicar
from infra import build

PYTHON = "3.13"
SETTINGS: dict[str, str] = {}

OF_OTHERS = {("connector", "dynamodb"), ("connector", "cosmosdb")}
"""Plugins of other clouds, whose SDKs are not in it."""

CHECK = """
import importlib.metadata, json, pathlib, re
from functions_framework import create_app
app = create_app("pubsub", "main.py", "http")
import google.cloud.firestore, google.cloud.pubsub, google.cloud.storage
import handlers.gcp.pubsub, obstore, psycopg, py7zr
from handlers.bootstrap import BUNDLE
from stoq_core.limits import Deadline
from stoq_core.payload import Request
from stoq_core.pipeline import payload_of
from stoq_core.registry import Registry

assert BUNDLE == pathlib.Path.cwd(), BUNDLE
for module in (handlers.gcp.pubsub, obstore, psycopg):
    assert pathlib.Path(module.__file__).is_relative_to(BUNDLE), module
    assert pathlib.Path(module.__cached__).exists(), module
registry = Registry(pathlib.Path("plugins"))
missing = {(one.kind, one.name) for one in registry if registry.missing_library(one.kind, one.name)}
installed = list(importlib.metadata.distributions(path=["."]))
names = {re.sub("[-_.]+", "-", one.name).lower() for one in installed}
for one in installed:
    for wanted in one.requires or ():
        name = re.match(r"[A-Za-z0-9._-]+", wanted)[0]
        if ";" not in wanted and name not in ("pcodedmp", "easygui"):  # never imported, not distributed
            assert re.sub("[-_.]+", "-", name).lower() in names, (one.name, wanted)
status = app.test_client().post("/", data=b"no message").status_code
request = Request(scan_id="11111111-1111-4111-8111-111111111111", payloads=[payload_of(b"EICAR")])
response = handlers.gcp.pubsub.PIPELINE.scan(request, Deadline.after_ms(60_000))
said = {"missing": sorted(missing), "installed": sorted(names), "status": status}
said |= {"verdict": response.verdict.verdict, "ruleset": response.stats.ruleset is not None}
said["psycopg"] = psycopg.pq.__impl__
print(json.dumps(said))
""".replace('b"EICAR"', repr(eicar()))

COST = "import resource; {start}; used = resource.getrusage(resource.RUSAGE_SELF); print(used[0] + used[1])"
BARE = "import functions_framework"
WHOLE = "from functions_framework import create_app; create_app('pubsub', 'main.py', 'http')"
SDKS = "import functions_framework, google.cloud.firestore"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle as it is deployed, unzipped."""
    if build.interpreter(PYTHON) is None:
        pytest.skip(f"there is no Python {PYTHON} on this machine, which the functions run: by pyenv say")
    out = tmp_path_factory.mktemp("bundle")
    made = build.build("gcp", "x86_64", PYTHON, out, [], [])
    zipfile.ZipFile(made).extractall(out / "workspace")
    return out / "workspace"


def run(code: str, bundle: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Python of the functions' version in the bundle, with nothing else installed."""
    python = build.interpreter(PYTHON) or ""
    command = [python, "-S", "-E", *options, "-c", f"import sys; sys.path.insert(0, '.'); {code.strip()}"]
    return subprocess.run(command, cwd=bundle, env=SETTINGS, capture_output=True, text=True, check=False)


@pytest.mark.e2e
def test_it_starts_alone_and_finds_something(bundle: Path) -> None:
    """With nothing else installed: every plugin that is not another cloud's has its library."""
    done = run(CHECK, bundle)
    assert done.stderr == ""
    said = json.loads(done.stdout.splitlines()[-1])
    assert (said["verdict"], said["ruleset"], said["status"]) == ("malicious", True, 503)
    assert said["psycopg"] == "binary"
    assert {tuple(one) for one in said["missing"]} <= {("worker", "tlsh"), *OF_OTHERS}
    others = re.compile(r"boto|aws|s3transfer|azure|msal|typer|rich")
    assert not [one for one in said["installed"] if others.search(one)]


@pytest.mark.e2e
def test_the_platform_finds_what_it_looks_for(bundle: Path) -> None:
    """`main.py` at the root; the handlers of one cloud; a name that is no trigger is none."""
    assert {one.name for one in (bundle / "handlers").iterdir()} - {"__pycache__"} == {
        "__init__.py", "first_import.py", "bootstrap.py", "gcp", "records.py",
    }  # fmt: skip
    for target in ("gcs", "pubsub", "messages"):
        done = run(f"import main; print(main.{target}.__name__)", bundle)
        assert done.stdout.split() == ["handle"], done.stderr
    assert "AttributeError" in run("import main; main._private", bundle).stderr


@pytest.mark.e2e
def test_googles_build_takes_it(bundle: Path) -> None:
    """Its first step compiles all there is, and stops at a file of another Python's syntax."""
    command = [build.interpreter(PYTHON) or "", "-m", "compileall", "-f", "-q", "."]
    done = subprocess.run(command, cwd=bundle, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-1000:]


@pytest.mark.e2e
def test_a_cold_start_costs_little_beside_the_bare_framework(
    bundle: Path, record_property: Callable[[str, object], None]
) -> None:
    """CPU seconds of a process that imports the framework, and of one that starts the app; medians of 5."""
    spent: dict[str, list[float]] = {BARE: [], WHOLE: [], SDKS: []}
    for _ in range(5):
        for start, found in spent.items():
            done = run(COST.format(start=start), bundle)
            assert done.stderr == ""
            found.append(float(done.stdout.splitlines()[-1]))
    bare, whole, sdks = (round(statistics.median(one) * 1000) for one in spent.values())
    record_property("cpu_ms", {"framework": bare, "app": whole, "framework and Firestore": sdks})
    assert whole <= bare + 300, (bare, whole)
