"""jinja: the shipped report, escaping, the sandbox, and templates that never end."""

from __future__ import annotations

import time
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handlers import bootstrap
from handlers.local.samples import eicar, nested_eicar
from plugins.decorators.jinja import Jinja
from stoq_core.errors import ConfigError, PluginError
from stoq_core.limits import Deadline
from stoq_core.payload import Request
from stoq_core.pipeline import payload_of
from stoq_core.testing import make
from tests.responses import response


def rendered(template: str = "", **options: Any) -> str:
    """A report on a small response."""
    one = make(Jinja, template=template, **options)
    one.open()
    (made,) = one.decorate(response(score=700, partial=True))
    return str(made.report)


def fails(template: str, **options: Any) -> PluginError:
    """The error that a template ends with."""
    with pytest.raises(PluginError) as caught:
        rendered(template, **options)
    return caught.value


class Balanced(HTMLParser):
    """Counts open elements."""

    def __init__(self) -> None:
        """Nothing is open."""
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        """One more."""
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """The last one ends."""
        assert self.open.pop() == tag


def test_the_shipped_report_of_a_real_scan() -> None:
    """Name, verdict, findings with their path, and every payload; the elements are balanced."""
    settings_ = [("scan.decorators", ["attack", "jinja"])]
    pipeline = bootstrap.pipeline(bootstrap.configured({}, [("sandbox.mode", "inline"), *settings_]))
    request = Request(scan_id="66666666-6666-4666-8666-666666666666")
    request.payloads = [payload_of(nested_eicar(), "a <b> & c.zip")]
    made = pipeline.scan(request, Deadline.after_ms(60_000))
    report = made.decorators["jinja"]["report"]
    assert "<h1>a &lt;b&gt; &amp; c.zip</h1>" in report
    assert "<strong>malicious</strong>, score 1000" in report
    assert "eicar_test_file (1000)" in report
    for one in made.results:
        assert one.sha256 in report
    parser = Balanced()
    parser.feed(report)
    assert parser.open == []
    assert len(report) < 5_000


def test_the_shipped_report_of_an_incomplete_scan() -> None:
    """What was not examined is told with its reason."""
    report = rendered()
    assert "Not examined:" in report
    assert "<li>deadline</li>" in report
    assert "<strong>suspicious</strong>, score 700" in report


def test_a_decorator_sees_those_before_it(tmp_path: Path) -> None:
    """A report behind the reputation has its finding and its verdict."""
    import hashlib

    (tmp_path / "bad").write_text(hashlib.sha256(b"content").hexdigest())
    settings_ = [
        ("scan.decorators", ["reputation", "jinja"]),
        ("decorator.reputation.deny", [str(tmp_path / "bad")]),
    ]
    pipeline = bootstrap.pipeline(bootstrap.configured({}, [("sandbox.mode", "inline"), *settings_]))
    request = Request(scan_id="66666666-6666-4666-8666-666666666666", payloads=[payload_of(b"content", "x")])
    made = pipeline.scan(request, Deadline.after_ms(60_000))
    assert "deny_listed (1000)" in made.decorators["jinja"]["report"]
    assert "<strong>malicious</strong>" in made.decorators["jinja"]["report"]


def test_a_template_of_ones_own(tmp_path: Path) -> None:
    """From a file or an option; both at once are refused."""
    (tmp_path / "t").write_text("{{ scan_id }} {{ verdict.verdict }}")
    assert rendered("{{ results|length }}") == "3"
    assert rendered(file=str(tmp_path / "t")).endswith(" suspicious")
    with pytest.raises(ConfigError, match="not both"):
        make(Jinja, template="x", file="y").open()


@pytest.mark.parametrize(
    ("template", "says"), [("{% if %}", "line 1"), ("{{ a", "line 1"), ("{% nope %}", "nope")]
)
def test_a_wrong_template_stops_the_start(template: str, says: str) -> None:
    """With its line."""
    with pytest.raises(ConfigError, match=says):
        make(Jinja, template=template).open()
    with pytest.raises(ConfigError, match="cannot be read"):
        make(Jinja, file="/no/such/template").open()


@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ results.__class__.__base__.__subclasses__() }}",
        "{{ results.clear() }}",
        "{{ results[0].workers.append(1) }}",
        "{{ self.__init__.__globals__ }}",
        "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
        "{{ 'a' * 1000000000 }}",
        "{{ 1000000000 * 'a' }}",
        "{{ [1] * 1000000000 }}",
        "{{ 9 ** 999999999 }}",
        "{{ '%999999999d' % 1 }}",
        "{{ '{:>999999999}'.format(1) }}",
        "{{ 'a'.ljust(999999999) }}",
        "{% set n = namespace(t='aa') %}{% for i in range(60) %}{% set n.t = n.t + n.t %}{% endfor %}",
        "{% for i in range(10000000) %}{% endfor %}",
        "{% include '/etc/passwd' %}",
        "{{ nothing.of.that }}",
        "{{ 1 / 0 }}",
    ],
)
def test_the_sandbox_holds(template: str) -> None:
    """No way out, nothing changed, nothing that grows without end: an error, quickly."""
    began = time.process_time()
    assert fails(template).code == "template_failed"
    assert time.process_time() - began < 2


@pytest.mark.parametrize("template", ["{{ 'a'|center(999999999) }}", "{{ '%999999999d'|format(1) }}"])
def test_growing_filters_are_not_there(template: str) -> None:
    """They are refused at the start."""
    with pytest.raises(ConfigError, match="No filter named"):
        make(Jinja, template=template).open()


def test_a_template_that_never_ends() -> None:
    """With or without output it is stopped in time."""
    loops = "{% for a in range(99999) %}{% for b in range(99999) %}" + "{% endfor %}{% endfor %}"
    began = time.monotonic()
    assert fails(loops, wall_ms=300).code == "timeout"
    assert time.monotonic() - began < 5


def test_a_long_report_is_cut() -> None:
    """At `max_bytes`, never inside a letter, and that is said."""
    one = make(Jinja, template="{% for a in range(99999) %}äß{% endfor %}", max_bytes=1_001)
    one.open()
    (made,) = one.decorate(response())
    assert made.truncated
    assert len(made.report.encode()) == 1_000
    assert set(made.report) == {"ä", "ß"}


def test_a_failing_template_is_data() -> None:
    """The scan goes on, and the verdict is what it was."""
    settings_ = [("scan.decorators", ["jinja"]), ("decorator.jinja.template", "{{ 1 / 0 }}")]
    pipeline = bootstrap.pipeline(bootstrap.configured({}, [("sandbox.mode", "inline"), *settings_]))
    request = Request(scan_id="66666666-6666-4666-8666-666666666666", payloads=[payload_of(eicar(), "x")])
    made = pipeline.scan(request, Deadline.after_ms(60_000))
    assert [(one.plugin, one.code) for one in made.errors] == [("decorator:jinja", "template_failed")]
    assert made.verdict is not None
    assert made.verdict.verdict == "malicious"


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=80), st.text(max_size=40))
def test_any_name_is_escaped(name: str, detail: str) -> None:
    """No name or detail of a file becomes markup."""
    one = make(Jinja)
    one.open()
    made = response(name=name or "x", score=700)
    found = made.results[0].findings[0]
    finding = msgspec.structs.replace(found.finding, detail=detail)
    assert made.verdict is not None
    made.verdict = msgspec.structs.replace(
        made.verdict, findings=[msgspec.structs.replace(found, finding=finding)]
    )
    (report,) = one.decorate(made)
    assert not set("<>") & set(report.report.partition("<h1>")[2].partition("</h1>")[0])
    assert report.report.count("<li>") == 1
    parser = Balanced()
    parser.feed(report.report)
    assert parser.open == []
