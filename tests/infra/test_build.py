"""Bundles: what is in them, what is not, the same bytes for the same input, and that they start."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from handlers.local.samples import eicar
from infra import build

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
OWN = build.ROOT / "tests" / "e2e" / "own_plugins"


def test_the_lock_keeps_what_functions_need() -> None:
    """The command line's libraries go with their hashes; everything else stays, markers and all."""
    lock = (
        "# locked\nmsgspec==1 \\\n    --hash=sha256:aa\nrich==2 \\\n    --hash=sha256:bb \\\n"
        "    --hash=sha256:cc\npuremagic==1 ; python_full_version < '3.12' \\\n    --hash=sha256:dd\n"
        "Typer==3 \\\n    --hash=sha256:ee\n"
    )
    kept = build.needed(lock)
    assert re.findall(r"sha256:(\w\w)", kept) == ["aa", "dd"]
    assert "python_full_version < '3.12'" in kept
    assert "rich" not in kept
    assert "rich" in build.needed(lock, frozenset({"rich"}))


@pytest.mark.parametrize(
    ("cloud", "shims"), [("aws", set()), ("gcp", {"main.py"}), ("azure", {"function_app.py", "host.json"})]
)
def test_a_bundle_holds_the_code_of_one_cloud_and_the_rules(
    tmp_path: Path, cloud: str, shims: set[str]
) -> None:
    """No other handler, no test, no bytecode of this machine's Python, one compiled ruleset."""
    build.add_code(tmp_path, cloud, [OWN])
    tops = {one.name for one in tmp_path.iterdir()}
    assert tops == {"stoq_core", "plugins", "handlers", "stoq.toml", "rules", "own_plugins", *shims}
    handlers = {one.name for one in (tmp_path / "handlers").iterdir()}
    assert handlers == {"__init__.py", "first_import.py", "bootstrap.py", "records.py", cloud}
    assert len(list((tmp_path / "rules" / "build").iterdir())) == 1
    assert (tmp_path / "own_plugins" / "workers" / "kill.py").exists()
    assert not list(tmp_path.rglob("__pycache__"))


def test_every_cloud_has_its_lock_and_its_handlers() -> None:
    """An entry of the table is a cloud that can be built."""
    for cloud in build.CLOUDS:
        assert (build.ROOT / f"requirements-{cloud}.txt").exists()
        assert (build.ROOT / "handlers" / cloud / "__init__.py").exists()


def test_a_folder_without_plugins_is_refused(tmp_path: Path) -> None:
    """`--plugins` names the folder that holds workers/, dispatchers/ and so on, or says so."""
    (tmp_path / "work").mkdir()
    with pytest.raises(SystemExit, match="workers"):
        build.add_code(tmp_path / "work", "aws", [OWN / "workers"])


def test_a_zip_depends_on_names_and_contents_alone(tmp_path: Path) -> None:
    """Times, order and modes of the files, and what pip noted about them, make no difference."""
    digests = set()
    for n, order in enumerate([("a.py", "b/c.so"), ("b/c.so", "a.py")]):
        work = tmp_path / f"{n}"
        for name in order:
            (work / name).parent.mkdir(parents=True, exist_ok=True)
            (work / name).write_bytes(name.encode())
            os.utime(work / name, (n * 1e9, n * 1e9))
            (work / name).chmod(0o600 + 0o100 * n)
        for name in ("bin/tool", "x.dist-info/RECORD", "x.dist-info/METADATA"):
            (work / name).parent.mkdir(exist_ok=True)
            (work / name).write_text(str(work) if "META" not in name else "")
        made = build.pack(work, tmp_path / f"{n}.zip")
        digests.add(hashlib.sha256(made.read_bytes()).hexdigest())
    assert len(digests) == 1
    assert zipfile.ZipFile(tmp_path / "0.zip").namelist() == ["a.py", "b/c.so", "x.dist-info/METADATA"]


def test_an_interpreter_of_another_version_is_found_or_none() -> None:
    """Only one that runs and is of that version; a shim that leads nowhere is not taken."""
    assert build.interpreter(PYTHON) == sys.executable
    assert build.interpreter("2.1") is None


def test_a_bundle_over_the_limit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is deployed, with both sizes in the message."""
    monkeypatch.setattr(build, "MOST_BYTES", 1_000)
    monkeypatch.setattr(build, "_install", lambda *_: None)
    with pytest.raises(SystemExit, match="MB unzipped"):
        build.build("aws", "arm64", PYTHON, tmp_path, [], [])
    assert not list(tmp_path.glob("*.zip"))


CHECK = """
import importlib.metadata, os, pathlib, re, sys
sys.path.insert(0, os.getcwd())
import handlers.aws.sqs
from stoq_core.limits import Deadline
from stoq_core.payload import Request
from stoq_core.pipeline import payload_of
from stoq_core.registry import Registry

assert handlers.aws.sqs.__cached__ and pathlib.Path(handlers.aws.sqs.__cached__).exists()
missing = {one.name for one in Registry(pathlib.Path("plugins")) if
           Registry(pathlib.Path("plugins")).missing_library(one.kind, one.name)}
# tlsh needs a compiler, which only the image has; the others are other clouds'
assert missing <= {"tlsh", "firestore", "pubsub", "cosmosdb"}, missing
names = {re.sub("[-_.]+", "-", one.name).lower() for one in importlib.metadata.distributions(path=["."])}
for one in importlib.metadata.distributions(path=["."]):
    for wanted in one.requires or ():
        name = re.match(r"[A-Za-z0-9._-]+", wanted)[0]
        if ";" not in wanted and name not in ("pcodedmp", "easygui"):  # never imported, not distributed
            assert re.sub("[-_.]+", "-", name).lower() in names, (one.name, wanted)
import boto3, obstore, py7zr
pipeline = handlers.aws.sqs.PIPELINE
from handlers.bootstrap import BUNDLE
assert BUNDLE == pathlib.Path.cwd()
request = Request(scan_id="11111111-1111-4111-8111-111111111111", payloads=[payload_of(sys.argv[1].encode())])
response = pipeline.scan(request, Deadline.after_ms(60_000))
print(response.verdict.verdict, response.stats.ruleset is not None, response.stats.sandbox["mode"])
pipeline.close()
"""


@pytest.mark.e2e
@pytest.mark.parametrize("python", sorted({PYTHON, "3.13"}))
def test_a_real_bundle_starts_alone_and_finds_something(tmp_path: Path, python: str) -> None:
    """Unzipped, with nothing else installed: every plugin has its library, and EICAR is malicious."""
    interpreter = build.interpreter(python)
    if interpreter is None:
        pytest.skip(f"there is no Python {python} on this machine: install it, by pyenv say")
    made = build.build("aws", "x86_64", python, tmp_path, [], [])
    zipfile.ZipFile(made).extractall(tmp_path / "task")
    done = subprocess.run(
        [interpreter, "-S", "-E", "-c", CHECK, eicar().decode()],
        cwd=tmp_path / "task",
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    assert done.stdout.split() == ["malicious", "True", "process"]


@pytest.mark.e2e
def test_two_builds_for_the_functions_platform_are_equal(tmp_path: Path) -> None:
    """The default bundle, arm64, is the same twice, and holds that platform's libraries alone."""
    made = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        made.append(build.build("aws", "arm64", "3.13", tmp_path / name, [], []))
    assert made[0].read_bytes() == made[1].read_bytes()
    bundle = zipfile.ZipFile(made[0])
    elves = [one for one in bundle.namelist() if bundle.open(one).read(4) == b"\x7fELF"]
    machines = {bundle.open(one).read(20)[18:20] for one in elves}
    assert machines == {b"\xb7\x00"}  # ELF's number for AArch64
