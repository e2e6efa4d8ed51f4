"""The command as a user runs it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from handlers.local.samples import eicar, encrypted_zip, nested_eicar, zipped
from stoq_core.sandbox.protect import PROTECTIONS

STOQ = Path(sys.executable).with_name("stoq")


def stoq(home: Path, *words: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Run it with a home of its own."""
    environment = {"HOME": str(home), "PATH": "/usr/bin:/bin", "COLUMNS": "200"}
    return subprocess.run(
        [STOQ, *words], input=stdin, env=environment, capture_output=True, check=False, timeout=100
    )


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """An empty home."""
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


def test_nested_eicar_is_malicious_with_its_path(home: Path, tmp_path: Path) -> None:
    """A zip in a tar.gz in a zip: malicious, the path by name, exit 1."""
    (tmp_path / "x.zip").write_bytes(nested_eicar())
    done = stoq(home, "scan", str(tmp_path / "x.zip"))
    assert done.returncode == 1
    assert "eicar.com < inner.zip < middle.tar < middle.tar.gz < x.zip" in done.stdout.decode()
    found = stoq(home, "scan", "--json", str(tmp_path / "x.zip"))
    document: dict[str, Any] = json.loads(found.stdout)
    assert document["decorators"]["verdict"]["verdict"] == "malicious"


def test_encrypted_zip_is_incomplete(home: Path, tmp_path: Path) -> None:
    """Exit 2 and the reason."""
    (tmp_path / "x.zip").write_bytes(encrypted_zip())
    done = stoq(home, "scan", str(tmp_path / "x.zip"))
    assert done.returncode == 2
    assert b"encrypted_archive" in done.stdout


def test_copies_are_shown_where_they_stand(home: Path, tmp_path: Path) -> None:
    """The same bytes are one line, and below it where else they are; three at the most."""
    inner = zipped(second=b"the same")
    many = {f"third{n}": b"the same" for n in range(4)}
    (tmp_path / "x.zip").write_bytes(zipped(first=b"the same", **{"in.zip": inner}, **many))
    lines = [
        line.strip("│├└─ ")
        for line in stoq(home, "scan", str(tmp_path / "x.zip")).stdout.decode().splitlines()
    ]
    shown = [line for line in lines if line.startswith("= ")]
    assert shown[:2] == ["= also third0 in x.zip", "= also third1 in x.zip"]
    assert shown[3] == "= and 2 more copies; --json shows all"
    assert len(shown) == 4


def test_help_and_version(home: Path) -> None:
    """No words at all show the help, as do groups of commands; both say where to go on."""
    assert stoq(home, "--version").returncode == 0
    for words in ([], ["rules"], ["--help"], ["scan", "--help"]):
        done = stoq(home, *words)
        assert b"Usage: stoq" in done.stdout + done.stderr
        assert done.returncode == (0 if "--help" in words else 2)


def test_folders_globs_and_stdin(home: Path, tmp_path: Path) -> None:
    """Each gives its documents, one a line."""
    for n in range(3):
        (tmp_path / f"{n}.txt").write_bytes(b"text %d" % n)
    assert len(stoq(home, "scan", "--json", str(tmp_path / "*.txt")).stdout.splitlines()) == 3
    done = stoq(home, "scan", "--json", "-", stdin=eicar())
    assert done.returncode == 1
    assert json.loads(done.stdout)["results"][0]["payload_meta"]["extra_data"]["filename"] == "stdin"


def test_the_same_scan_id_gives_the_same_document(home: Path, tmp_path: Path) -> None:
    """Equal but for time and stats: one child or two, no sandbox, one thread or four."""
    (tmp_path / "x.zip").write_bytes(zipped(a=b"1", b=nested_eicar(), c=b"3"))
    made = []
    children = (["-o", "sandbox.processes=1"], ["-o", "sandbox.processes=3"])
    for way in (*children, ["--inline"], ["--inline", "-o", "scan.threads=4"]):
        words = ["--json", "--scan-id", "33333333-3333-4333-8333-333333333333", *way]
        document = json.loads(stoq(home, "scan", *words, str(tmp_path / "x.zip")).stdout)
        del document["time"], document["stats"]
        made.append(document)
    assert all(one == made[0] for one in made)


def test_results_are_kept_and_found(home: Path, tmp_path: Path) -> None:
    """What was scanned is listed, searched and shown."""
    (tmp_path / "bad.com").write_bytes(eicar())
    stoq(home, "scan", str(tmp_path / "bad.com"))
    assert b"bad.com" in stoq(home, "results", "list").stdout
    assert b"bad.com" in stoq(home, "results", "search", "--finding", "eicar_test_file").stdout
    assert stoq(home, "results", "show", "nothing").returncode == 2


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["scan", "nowhere"], "no such file"),
        (["scan", "--always", "hsah", "FILE"], "Did you mean 'hash'"),
        (["scan", "--start", "hsah", "FILE"], "Did you mean 'hash'"),
        (["scan", "-o", "worker.yara.foo=1", "FILE"], "unknown option 'foo'"),
        (["scan", "-o", "limts.depth=1", "FILE"], "Did you mean 'limits'"),
        (["scan", "-o", "limits.depth", "FILE"], "NAME=VALUE"),
        (["scan", "-o", "limits.depth=x", "FILE"], "limits.depth"),
        (["scan", "--config", "nowhere.toml", "FILE"], "nowhere.toml"),
        (["scan", "--scan-id", "5", "FILE"], "no UUID"),
        (["plugin", "yra"], "Did you mean 'yara'"),
        (["rules", "check", "nowhere"], "no such file"),
        (["scan", "--jsno", "FILE"], "--json"),
        (["scan", "--max-depth", "x", "FILE"], "stoq scan --help"),
        (["scan"], "PATH"),
        (["scna", "FILE"], "Did you mean 'scan'"),
        (["rules", "check_all"], "stoq rules --help"),
    ],
)
def test_mistakes_are_one_line(words: list[str], says: str, home: Path, tmp_path: Path) -> None:
    """Each says what to do, exits 2, and shows no traceback."""
    (tmp_path / "f").write_bytes(b"x")
    done = stoq(home, *[str(tmp_path / "f") if one == "FILE" else one for one in words])
    assert done.returncode == 2
    assert says in done.stderr.decode()
    assert b"Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_standard_input_is_named_once(home: Path) -> None:
    """It can be read only once: a second `-` is a mistake, not a traceback."""
    done = stoq(home, "scan", "-", "-", stdin=b"text")
    assert (done.returncode, done.stderr.count(b"\n")) == (2, 1)
    assert b"give it once" in done.stderr


def test_a_bad_rule_is_named_and_the_others_kept(home: Path, tmp_path: Path) -> None:
    """`rules check` names file, line and reason, `scan` too; `rules build` keeps the good ones."""
    rules = tmp_path / "own.yar"
    rules.write_text("rule good { condition: filesize == 3 }\nrule bad { condition: $x }\n")
    done = stoq(home, "rules", "check", str(rules))
    assert done.returncode == 2
    assert b"own.yar:2" in done.stderr
    built = stoq(home, "rules", "build", str(rules), "--out", str(tmp_path / "out"))
    artefact = next((tmp_path / "out").glob("*.stoqrules"))
    assert built.returncode == 2
    for more in ((), ("--inline",)):
        used = stoq(home, "scan", *more, "-o", f"rules.path={rules}", str(rules))
        assert used.returncode == 0
        assert used.stderr.count(b"own.yar:2: rule 'bad' left out") == 1
    (tmp_path / "abc").write_bytes(b"abc")
    scanned = stoq(home, "scan", "--json", "-o", f"worker.yara.rules={artefact}", str(tmp_path / "abc"))
    assert json.loads(scanned.stdout)["results"][0]["workers"][0]["yara"]["matches"][0]["rule"] == "good"


def test_the_doctor_says_what_is_there_and_what_is_not(home: Path) -> None:
    """Every protection by name, and the way to have those that are missing; on Linux all that must be is."""
    done = stoq(home, "doctor")
    said = done.stdout.decode()
    assert all(name in said for name in PROTECTIONS)
    assert "plugins have all that they need" in said
    lines = [one.split() for one in said.splitlines()]
    held = {words[1] for words in lines if words[:1] == ["yes"]}
    assert (done.returncode == 0) == ({"parent_opaque", "no_network"} <= held)
    assert done.returncode == 0 or sys.platform != "linux"


def test_lists_and_settings(home: Path) -> None:
    """`plugins`, `plugin`, `config` and `--version` answer."""
    assert b"decompress" in stoq(home, "plugins").stdout
    shown = stoq(home, "plugin", "xordecode").stdout.decode()
    for line in (
        "finding xor_hidden_executable (score 500, T",
        "error no_key:",
        "XorKey: One `key`",
    ):
        assert line in shown
    assert "stoq scan --always xordecode FILE" in shown
    assert b"worker.yara.strings_limit: integer = 10" in stoq(home, "plugin", "yara").stdout
    assert json.loads(stoq(home, "config").stdout)["limits"]["depth"] == 10
    assert stoq(home, "--version").stdout.startswith(b"stoq ")


def test_a_store_that_fails_hides_nothing(home: Path, tmp_path: Path) -> None:
    """The tree is shown, the store that failed is named, and those that have the result; --json prints."""
    file, blocked = tmp_path / "eicar.com", tmp_path / "blocked"
    file.write_bytes(eicar())
    stores = ["--connector", "filedir", "--connector", "broken", "-o", "connector.broken.use=filedir"]
    places = ["-o", f"connector.filedir.path={tmp_path}/good", "-o", f"connector.broken.path={blocked}"]
    blocked.mkdir()
    (blocked / ".lock").mkdir()  # nothing can be locked, so nothing can be written
    shown = stoq(home, "scan", *stores, *places, str(file))
    assert shown.returncode == 1
    assert b"eicar_test_file" in shown.stdout
    assert b"connector.broken" in shown.stderr
    assert b"stored by filedir" in shown.stderr
    printed = stoq(home, "scan", "--json", *stores, *places, str(file))
    assert json.loads(printed.stdout)["decorators"]["verdict"]["verdict"] == "malicious"


def test_links_within_a_folder_are_covered_and_others_named(home: Path, tmp_path: Path) -> None:
    """A link to a folder outside is not followed, which is said; one within is scanned in its own place."""
    folder, outside = tmp_path / "folder", tmp_path / "outside"
    (folder / "inner").mkdir(parents=True)
    outside.mkdir()
    (folder / "inner" / "a.txt").write_text("clean text")
    (outside / "b.txt").write_text("clean text, too")
    (folder / "alias").symlink_to(folder / "inner")
    (folder / "escape").symlink_to(outside)
    done = stoq(home, "scan", str(folder))
    assert done.returncode == 2
    assert done.stderr.count(b"link to a folder elsewhere") == 1
    assert b"escape" in done.stderr
