"""The text view of the worker yara: rules for plain words match what a script hides from them."""

from __future__ import annotations

from pathlib import Path

import pytest

from plugins._text.normal import normal_form
from plugins.workers.yara import Yara
from stoq_core.testing import Ran, make, run

RULE = """rule hidden_word { meta: score = 500 description = "the word"
    strings: $a = "powershell" nocase condition: $a }"""


def scanned(tmp_path: Path, content: bytes) -> Ran:
    """What the worker says with this one rule."""
    file = tmp_path / "r.yar"
    file.write_text(RULE, "utf-8")
    return run(make(Yara, rules=str(file)), content)


TRICKS: dict[str, bytes] = {
    "carets": b"cmd /c p^o^w^er^sh^ell -w hidden",
    "ticks": b"& po`wer`shell -w hidden",
    "empty quotes": b'po""wer""shell -w hidden',
    "literals joined by plus": b"x = 'po' + \"wers\" +\n 'hell'",
    "literals joined by ampersand over lines": b'x = "po" & _\r\n  "wers" & "hell"',
    "literals joined by dots": b"<?php $x = 'po'.'wers' . \"hell\";",
    "literals on lines of their own": b"x = ('power'\n     'shell')",
    "a continued line": b"power\\\nshell -c x",
    "a continued line of a batch file": b"power^\r\nshell -c x",
    "escapes": b"x = 'p\\x6fwer\\u0073he\\154l'",
    "percent": b"<a href='%70owershel%6C'>",
    "entities": b"<a onclick='pow&#101;rs&#x68;ell'>",
    "codes of letters": b'x = "po" & Chr(119) & ChrW(&H65) & "rshell"',
    "casts of codes": b"iex ('po'+[char]119+[char]0x65+'rshell')",
    "a list of codes": b"eval(String.fromCharCode(112,111,119,101,114,115,104,101,108,108))",
    "a reversed literal": b'x = StrReverse("llehsrewop")',
    "a slice backwards": b"x = 'llehsrewop'[::-1]",
    "a replacement": b"x = 'pZZowZZershZZell'.replace('ZZ', '')",
    "an operator that replaces": b"'p##owershel##l' -replace '##',''",
    "a format": b"(\"{1}{0}\" -f 'shell','power')",
    "an array that is joined": b"['pow', 'er', 'sh', 'ell'].join('')",
    "variables": b"@set a=power\r\n@set b=shell\r\n%a%%b% -w hidden\r\n",
    "parts of variables": b"set a=xxpowerxx\r\n%a:~2,5%shell\r\n",
    "zeros": b"p\0o\0w\0e\0r\0s\0h\0e\0l\0l\0 \0-\0w\0",
    "control letters": b"a script that starts pow\1er\2shell in the dark, and does no more than that\n",
    "invisible letters": "pow\u200bers\u00adhell".encode(),
    "UTF-16": "powershell -w hidden".encode("utf-16"),
    "UTF-32": "powershell -w hidden".encode("utf-32-be"),
}


@pytest.mark.parametrize("trick", TRICKS)
def test_a_word_is_found_behind_each_trick(tmp_path: Path, trick: str) -> None:
    """It counts once, and says that it stands in the text and not in the bytes."""
    ran = scanned(tmp_path, TRICKS[trick])
    assert [(finding.name, finding.score) for finding in ran.findings] == [("hidden_word", 500)]
    assert ran.result is not None
    assert [match["view"] for match in ran.result["matches"]] == ["text"]


def test_what_matches_as_it_stands_is_told_once(tmp_path: Path) -> None:
    """In plain sight and hidden in one text: one finding, of the bytes."""
    ran = scanned(tmp_path, b"powershell\np^o^w^e^r^s^h^e^l^l\n")
    assert len(ran.findings) == 1
    assert ran.result is not None
    assert [match["view"] for match in ran.result["matches"]] == [None]


@pytest.mark.parametrize(
    "content",
    [b"", b"plain words\n", b"x = 1 + 2\n", bytes(range(256)) * 9, b"\x89PNG\r\n\x1a\n" + bytes(99)],
)
def test_a_plain_text_has_no_other_form(content: bytes) -> None:
    """It is not searched twice."""
    assert normal_form(content) is None or b"\0" in content


def test_variables_that_grow_have_an_end() -> None:
    """A batch file whose variables double each line stays within four times its size."""
    text = b"".join(b"set a=%a%%a%\r\n" for _ in range(2_000)).replace(b"%a%%a%", b"xy", 1)
    made = normal_form(text)
    assert made is not None
    assert len(made) < 12 * len(text) + 200_000
