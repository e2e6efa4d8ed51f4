"""Rulesets: a bad rule is named and alone, an artefact is data that is checked when it is loaded."""

from __future__ import annotations

import importlib.metadata
import logging
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plugins._rules import rulesets
from plugins._rules.rulesets import (
    SHIPPED,
    Ruleset,
    build_ruleset,
    check_rules,
    compile_sources,
    digest_of,
    load_ruleset,
    read_sources,
)
from plugins._rules.split import decode, split
from plugins._rules.yara import YaraOptions, left_out, ruleset
from stoq_core.errors import RulesError


def made_of(text: str, name: str = "own.yar") -> Ruleset:
    """One file's ruleset."""
    return compile_sources([(name.partition(".")[0], name, text)])


def names(made: Ruleset) -> list[str]:
    """The rules that are in."""
    return [one.identifier for one in made.rules]


def hits(made: Ruleset, content: bytes = b"x") -> list[tuple[str, str]]:
    """Namespace and name of the rules that match."""
    return [(one.namespace, one.identifier) for one in made.rules.scan(content).matching_rules]


GOOD = 'rule good1 { strings: $a = "x" condition: $a }\n'
LAST = "rule good2 { condition: filesize > 0 }\n"


@pytest.mark.parametrize(
    ("bad", "line", "rule", "why", "advice"),
    [
        ("rule bad { condition: $x }", 2, "bad", "unknown pattern", "strings:"),
        ("rule bad { condition: nothing }", 2, "bad", "unknown identifier", "import"),
        ("rule bad {\n strings: $a = /a(b/\n condition: $a }", 3, "bad", "unclosed group", "expression"),
        ('rule bad {\n strings: $a = "abc\n condition: $a }', 3, "bad", "unclosed", "mend"),
        ('rule bad { strings: $a = "abc" $b = "b" condition: $a }', 2, "bad", "unused pattern", "condition"),
        ("rule bad { strings: $a = condition: true }", 2, "bad", "syntax", "mend"),
        ("rule bad { condition: true ", 3, "bad", "syntax", "mend"),
        ("rule bad condition: true }", 2, "bad", "syntax", "mend"),
        ("rule good1 { condition: true }", 2, "good1", "duplicate", "rename"),
        ("global rule bad { condition: $x }", 2, "bad", "unknown pattern", "strings:"),
        ("hello world", 2, "good1", "syntax", "mend"),
        ('include "other.yar"', 2, "good1", "include", "beside"),
        ('import "nothing"', 2, "good1", "unknown module", "import"),
        ("/* never closed", 2, "good1", "unclosed comment", "mend"),
        ("rule { condition: true }", 2, "?", "syntax", "mend"),
        ("\x00\x01\x02", 2, "good1", "syntax", "mend"),
    ],
)  # fmt: skip
def test_a_bad_rule_is_alone(bad: str, line: int, rule: str, why: str, advice: str) -> None:
    """Whatever is wrong with one rule, those before and behind it are in, and it is named with advice."""
    made = made_of(GOOD + bad + "\n" + LAST)
    assert [one for one in names(made) if one.startswith("good")] == ["good1", "good2"]
    assert "bad" not in names(made)
    assert any(
        one.file == "own.yar" and one.line == line and why in one.why and advice in one.advice
        for one in made.bad
    ), made.bad
    assert rule in {one.rule for one in made.bad}


def test_what_a_bad_rule_hides_is_found_again() -> None:
    """A rule that never closes takes the next one with it in the compiler's eyes; here it does not."""
    made = made_of("rule bad { condition: true\n" + GOOD + "private " + LAST + "rule c { condition: good2 }")
    assert names(made) == ["good1", "good2", "c"]
    assert [(one.rule, one.line) for one in made.bad] == [("bad", 2)]


def test_a_rule_that_needs_a_bad_one_is_bad_too() -> None:
    """Both are named, the second with the identifier that it misses."""
    made = made_of("rule a { condition: $x }\nrule b { condition: a }\n" + GOOD)
    assert [(one.rule, one.line) for one in made.bad] == [("a", 1), ("b", 2)]
    assert "`a`" in made.bad[1].why


def test_imports_reach_all_rules_of_a_broken_file() -> None:
    """Also when one stands behind the rule that is broken."""
    made = made_of(
        'import "pe"\nrule bad { condition: true\nimport "math"\n'
        "rule a { condition: pe.is_pe }\nrule b { condition: math.in_range(1.0, 0.0, 2.0) }"
    )
    assert names(made) == ["a", "b"]
    assert {one.rule for one in made.bad} == {"bad"}


def test_global_and_private_rules_hold_in_their_own_file() -> None:
    """A global rule gates its file's rules, not those of others, also of a broken file."""
    gated = (
        "global rule g { condition: filesize > 5 }\nprivate rule p { condition: true }\n"
        "rule a { condition: p }\nrule bad { condition:\n"
    )
    sources = [
        ("one", "one.yar", gated),
        ("two", "two.yar", "rule b { condition: true }"),
    ]
    made = compile_sources(sources)
    assert hits(made) == [("two", "b")]
    assert hits(made, b"123456") == [("one", "g"), ("one", "a"), ("two", "b")]


def test_files_may_repeat_a_name() -> None:
    """Two files with the same rule are no duplicates; in one namespace the second is named."""
    made = compile_sources([("x/a", "x/a.yar", GOOD), ("y/a", "y/a.yar", GOOD)])
    assert made.bad == []
    assert len(names(made)) == 2
    made = compile_sources([("detect", "a.yar", GOOD), ("detect", "b.yar", GOOD + LAST)])
    assert [(one.file, one.rule) for one in made.bad] == [("b.yar", "good1")]
    assert names(made) == ["good1", "good2"]


def test_the_keyword_counts_only_where_a_rule_can_begin() -> None:
    """Strings, expressions and comments may say `rule`; names may contain it."""
    text = r"""// rule a { }
/* rule b {} */ import "pe"
rule first : rule_tag { meta: x = "rule c { \" rule d"
  strings: $a = /rule e \/ rule f/ $h = { 41 42 } condition: all of them }
private
  global /* x */ rule second { condition: true } // rule g
"""
    parts = split(text)
    assert [(one.rule, one.line) for one in parts.pieces] == [(None, 1), ("first", 3), ("second", 5)]
    assert parts.imports == ['import "pe"']
    assert "".join(one.text for one in parts.pieces) == text


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            [  # what opens, closes and begins things
                "rule ",
                "a",
                " {",
                "}",
                '"',
                "/",
                "/*",
                "*/",
                "//",
                "\n",
                "\\",
                "global ",
                'import "pe"',
                "$x",
                "é",
                "\0",
            ]
        )
    )
)
def test_any_text_is_cut_into_its_whole(parts: list[str]) -> None:
    """Only leading blanks are lost, and whatever stands before a good rule, it is in."""
    text = "".join(parts)
    assert "".join(one.text for one in split(text).pieces).lstrip() == text.lstrip()
    assert "kept" in names(made_of(text + "\n\nrule kept { condition: true }"))


def test_cutting_takes_linear_time() -> None:
    """A megabyte of openings that never close is done at once."""
    for part in ("/*", '"', "/", "rule ", "/*\n", "global "):
        assert split(part * 200_000).pieces


def test_bytes_that_are_no_text_keep_their_meaning(tmp_path: Path) -> None:
    """A rule file in Latin-1, or with a byte order mark, matches the bytes that it was written for."""
    (tmp_path / "old.yar").write_bytes(b'// caf\xe9\nrule r { strings: $a = "caf\xe9" condition: $a }')
    (tmp_path / "mark.yar").write_bytes(b"\xef\xbb\xbfrule m { condition: true }")
    made = compile_sources(read_sources([tmp_path]))
    assert made.bad == []
    assert ("old", "r") in hits(made, b"un caf\xe9")
    assert decode("é".encode()) == "é"


def test_sources_are_read_in_a_stable_order_with_their_namespaces(tmp_path: Path) -> None:
    """`routing` wherever a file is called so, `detect` for shipped rules, else the file's own path."""
    for name in ("b.yar", "a.yara", "sub/routing.yar", "sub/a.yar", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(GOOD)
    found = [(namespace, name) for namespace, name, _ in read_sources([tmp_path, tmp_path / "b.yar"])]
    assert found == [
        ("a", "a.yara"), ("b", "b.yar"), ("b", "b.yar"),
        ("routing", "sub/routing.yar"), ("sub/a", "sub/a.yar"),
    ]  # fmt: skip
    assert {namespace for namespace, _, _ in read_sources([SHIPPED])} == {"routing", "detect"}


@pytest.mark.parametrize("path", ["nowhere", "."])
def test_no_rules_is_a_deployments_error(tmp_path: Path, path: str) -> None:
    """A path that is missing, or a folder without rules, is named."""
    with pytest.raises(RulesError, match=r"no (such file|rules)"):
        load_ruleset(str(tmp_path / path))


def test_check_names_the_bad_ones(tmp_path: Path) -> None:
    """File, line and rule of each; nothing for good rules."""
    (tmp_path / "a.yar").write_text(GOOD)
    assert check_rules([tmp_path]) == []
    (tmp_path / "b.yar").write_text("\n\nrule x { condition: $y }")
    (bad,) = check_rules([tmp_path])
    assert (bad.file, bad.line, bad.rule) == ("b.yar", 3, "x")


def built(folder: Path, text: str = GOOD + LAST) -> Path:
    """An artefact."""
    (folder / "own.yar").write_text(text)
    return build_ruleset([folder / "own.yar"], folder / "out")[0]


def changed(file: Path, **fields: Any) -> Path:
    """The artefact with other fields."""
    content = msgspec.msgpack.decode(file.read_bytes())
    file.write_bytes(msgspec.msgpack.encode({**content, **fields}))
    return file


def test_an_artefact_gives_the_same_rules(tmp_path: Path) -> None:
    """It is named by the digest of its sources, and what is loaded matches as what was compiled."""
    file = built(tmp_path)
    made = load_ruleset(str(file))
    assert file.name == f"{made.digest}.stoqrules"
    assert hits(made) == hits(load_ruleset(str(tmp_path / "own.yar"))) == [("own", "good1"), ("own", "good2")]
    assert made.digest == digest_of(read_sources([tmp_path / "own.yar"]))
    assert [one.name for one in file.parent.iterdir()] == [file.name]


def test_an_artefact_needs_no_sources_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bundle carries the artefact alone: the shipped rules are then that one."""
    monkeypatch.setattr(rulesets, "SHIPPED", tmp_path)
    file = built(tmp_path)
    (tmp_path / "own.yar").unlink()
    file.parent.rename(tmp_path / "build")
    assert names(load_ruleset("")) == ["good1", "good2"]


def test_a_stale_build_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Shipped rules that changed behind their build are compiled anew."""
    monkeypatch.setattr(rulesets, "SHIPPED", tmp_path)
    built(tmp_path).parent.rename(tmp_path / "build")
    assert names(load_ruleset("")) == ["good1", "good2"]
    (tmp_path / "own.yar").write_text(LAST)
    assert names(load_ruleset("")) == ["good2"]


def test_another_yara_x_compiles_the_sources_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No compiled form for this version: the same rules, with a warning; a new build keeps both forms."""
    file = built(tmp_path)
    with monkeypatch.context() as patch, caplog.at_level(logging.WARNING, "stoq.rules"):
        patch.setattr(rulesets, "_version", lambda: "99.0")
        assert names(load_ruleset(str(file))) == ["good1", "good2"]
        assert "no compiled form for yara-x 99.0" in caplog.text
        built(tmp_path)
    assert set(msgspec.msgpack.decode(file.read_bytes())["compiled"]) == {"99.0", rulesets._version()}


def test_bad_rules_are_named_at_the_start(tmp_path: Path) -> None:
    """Rules that are compiled at the start name the bad ones, one line each, and twenty at the most."""
    (tmp_path / "own.yar").write_text(GOOD + "rule bad { condition: $x }")
    assert names(load_ruleset(str(tmp_path))) == ["good1"]
    [line] = left_out(YaraOptions(rules=str(tmp_path)))
    assert line.startswith("own.yar:2: rule 'bad' left out: ")
    (tmp_path / "more.yar").write_text("".join(f"rule bad{n} {{ condition: $x }}\n" for n in range(30)))
    ruleset.cache_clear()
    assert len(left_out(YaraOptions(rules=str(tmp_path)))) == 21
    assert left_out(YaraOptions(rules=str(tmp_path)))[20].startswith("11 more rules")


def test_damage_is_refused(tmp_path: Path) -> None:
    """Cut short, other sources, other compiled form, other format, no artefact at all: one message each."""
    whole = built(tmp_path).read_bytes()
    file = next((tmp_path / "out").iterdir())
    compiled = msgspec.msgpack.decode(whole)["compiled"]
    wrong = {version: (checksum, binary[:-1] + b"!") for version, (checksum, binary) in compiled.items()}
    for spoilt in (
        changed(file, sources=[("own", "own.yar", "rule evil { condition: true }")]).read_bytes(),
        changed(file, compiled=wrong).read_bytes(),
        changed(file, format=1).read_bytes(),
        whole[: len(whole) // 2], b"", b"\x80", b"rule r { condition: true }", whole + b"!",
    ):  # fmt: skip
        file.write_bytes(spoilt)
        with pytest.raises(RulesError, match="stoq rules build"):
            load_ruleset(str(file))
        file.write_bytes(whole)


def test_a_build_over_a_damaged_artefact_mends_it(tmp_path: Path) -> None:
    """What cannot be read is written anew."""
    file = built(tmp_path)
    file.write_bytes(b"junk")
    assert built(tmp_path) == file
    assert names(load_ruleset(str(file))) == ["good1", "good2"]


@settings(max_examples=60, deadline=None)
@given(content=st.binary(max_size=400))
def test_any_bytes_are_refused_as_an_artefact(
    content: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Arbitrary content never loads and never raises anything else."""
    file = tmp_path_factory.getbasetemp() / "any.stoqrules"
    file.write_bytes(content)
    with pytest.raises(RulesError):
        load_ruleset(str(file))


def test_the_version_is_the_installed_one() -> None:
    """The shortcut around importlib.metadata gives what that would."""
    assert rulesets._version() == importlib.metadata.version("yara-x")
