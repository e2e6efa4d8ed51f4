"""Words of a text that may be the password it speaks of, most likely first; and passwords that are usual."""

from __future__ import annotations

import re

USUAL_PASSWORDS = ("infected", "malware", "virus", "password", "1234", "123456")
"""What samples are usually locked with: tried wherever something is locked."""

GUESSED_PASSWORDS = (
    "12345", "12345678", "123456789", "0000", "1111", "abc123", "admin", "qwerty", "test", "secret", "pass",
    "Password1", "Passw0rd", "P@ssw0rd", "Welcome1",
)  # fmt: skip
"""What people choose who have to choose one, beside `seasonal`: tried where a wrong one is known at once."""

_KEYWORD = re.compile(
    r"pass(?:word|wort|code|phrase|w(?=[\s:=]))|kennwort|\bpwd?\b|contrase(?:ñ|n)a|"
    r"mots? de passe|\bmdp\b|senha|clave|palabra de paso|wachtwoord|has(?:ł|l)o|heslo|parola|lösenord|"
    r"adgangskode|"
    r"salasana|şifre|jelsz(?:ó|o)|mật khẩu|κωδικό|парол[ьяе]|סיסמ|كلمة (?:المرور|السر)|"
    r"密码|密碼|口令|解压码|解壓碼|提取码|パスワ[ーｰ\uff0d-]ド|ﾊﾟｽﾜｰﾄﾞ|\uff30\uff37|暗証番号|비밀번호|비번|암호|패스워드",
    re.IGNORECASE,
)
_QUOTES = (
    ('"', '"'), ("'", "'"), ("“", "”"), ("„", "“”"), ("«", "»"), ("`", "`"), (r"\*", r"\*"), ("「", "」"),
    ("『", "』"), ("【", "】"), (r"\u2018", r"\u2019"), (r"\u201a", r"\u2018\u2019"), (r"\uff02", r"\uff02"),
    ("<", ">"), (r"\[", r"\]"),
)  # fmt: skip
_QUOTED = re.compile(
    "|".join(rf"{opening}([^{closing}\n]{{1,64}})[{closing}]" for opening, closing in _QUOTES)
)
_AFTER, _BEFORE = 160, 60
_MOST_PLACES, _MOST_WORDS = 40, 8
_BLANKS = r"[\s:=>\u2013\u2014\uff1a\uff1d﹕\u2236→-]"
_FILLERS = (
    "is|ist|lautet|est|es|é|for|für|the|file|archive|attachment|zip|to|open|it|du|de|der|die|das|zum|zur|archiv|"
    "fichier|archivo|del|la|le|к|для|от|архива|архиву|файла|файлу|это"
)
_JOINED = "(?:は|が|是|为|為|는|은|이)"
"""Words that stand before the password without a blank."""
_LEAD = re.compile(rf"{_BLANKS}*+(?:(?:(?:{_FILLERS})\b|{_JOINED}){_BLANKS}*+){{0,8}}", re.IGNORECASE)
_ASCII = re.compile(r"[!-~]{2,64}")
_NOISE = frozenset((
    "a", "an", "and", "are", "as", "at", "be", "by", "for", "from", "has", "if", "in", "is", "it", "no",
    "not", "of", "on", "or", "our", "per", "please", "the", "this", "to", "was", "will", "with", "you",
    "your", "der", "die", "das", "ist", "mit", "und", "de", "la", "le", "lautet", "following", "attached",
    "zip", "file", "archive", "open", "use",
))  # fmt: skip
_EDGES = ".,;:!?)]}>\"'“”„«»`*。、\uff0c\uff0e\uff1b\uff1a\uff01\uff1f\uff09】」』"


def candidates(text: str, most: int = 60) -> list[str]:
    """At most `most` distinct words of 2 to 64 characters that stand near a word for *password*."""
    found: dict[str, None] = {}
    for number, place in enumerate(_KEYWORD.finditer(text)):
        if number >= _MOST_PLACES or len(found) >= most:
            break
        behind = text[place.end() : place.end() + _AFTER]
        before = text[max(0, place.start() - _BEFORE) : place.start()]
        for word in (*_quoted(behind), *_following(behind), *_quoted(before)):
            if 2 <= len(word) <= 64 and word.lower() not in _NOISE:
                found.setdefault(word)
    return list(found)[:most]


def _quoted(text: str) -> list[str]:
    return [next(filter(None, one.groups()), "") for one in _QUOTED.finditer(text)]


def _following(text: str) -> list[str]:
    """The rest of the line as it is, and each of the next words with and without its punctuation."""
    lead = _LEAD.match(text)
    rest = text[lead.end() if lead else 0 :]
    line = rest.split("\n", 1)[0].strip()
    words: list[str] = []
    plain = _ASCII.match(rest)
    if plain and not rest[plain.end() : plain.end() + 1].isspace():
        words.append(plain.group().rstrip(_EDGES))  # a text without blanks goes on behind it
    for word in rest.split()[:_MOST_WORDS]:
        words += (word.lstrip("([<\"'“„«`*").rstrip(_EDGES), word)
    return [*words[:3], line, *words[3:]] if line else words


_SEASONS = ("Winter", "Spring", "Summer", "Autumn", "Fall")
_YEARS = ("99", *(str(year) for year in range(2020, 2028)), *(str(year) for year in range(20, 28)))


def seasonal() -> list[str]:
    """What people choose where a password has to change each quarter: `Winter99`, `Summer2026!`."""
    return [f"{season}{year}{mark}" for mark in ("", "!") for year in _YEARS for season in _SEASONS]
