"""The JSON Schema describes what is rendered: nothing more, nothing less."""

from __future__ import annotations

import copy
from typing import Any

import jsonschema
import msgspec
import pytest

from handlers.local.samples import nested_eicar
from infra.docs import SCHEMA, schema_text
from stoq_core.render import encode
from stoq_core.schema import Document, json_schema
from tests.bench.__main__ import pipeline, scan
from tests.responses import response


def documents() -> list[bytes]:
    """A rich response made by hand, and a real scan."""
    return [encode(response(children=3)), encode(scan(pipeline("hash", "yara"), nested_eicar(), "a.zip"))]


@pytest.mark.parametrize("which", [0, 1])
def test_documents_follow_the_schema(which: int) -> None:
    """By the validator and by the types; a field that is missing or unknown is refused."""
    text = documents()[which]
    msgspec.json.decode(text, type=Document)
    document: dict[str, Any] = msgspec.json.decode(text)
    validator = jsonschema.Draft202012Validator(json_schema())
    validator.validate(document)
    for broken in ({**document, "more": 1}, {k: v for k, v in document.items() if k != "results"}):
        assert not validator.is_valid(broken)
    wrong = copy.deepcopy(document)
    wrong["results"][0]["verdict"] = "fine"
    assert not validator.is_valid(wrong)


def test_the_schema_file_is_fresh() -> None:
    """`docs/result.schema.json` is what the types say."""
    assert SCHEMA.read_text("utf-8") == schema_text()
