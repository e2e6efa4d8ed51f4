"""Every type that is told has a row in the routes, and every row belongs to a type."""

from __future__ import annotations

from handlers import bootstrap
from plugins._formats.filetype import labels
from plugins._formats.routes import shipped_routes
from stoq_core.config import ScanSection, load


def test_every_type_has_a_row() -> None:
    """A type that is named but not routed would be called examined without anybody having been asked."""
    assert set(shipped_routes()) == labels()


def test_what_holds_others_goes_to_a_worker_that_opens() -> None:
    """A container or an encoding is `no_worker` unless one of its row's workers has the role `opens`."""
    plugins = bootstrap.registry(load())
    for label, route in shipped_routes().items():
        roles = {role for name in route.workers for role in plugins.load("worker", name).roles}
        assert "opens" in roles or not route.is_packed or not route.workers, label


def test_each_role_is_somebodys() -> None:
    """Something that runs on every payload identifies and searches; what runs on all of them opens none."""
    plugins, always = bootstrap.registry(load()), ScanSection().always
    roles = [role for name in always for role in plugins.load("worker", name).roles]
    assert sorted(roles) == ["identifies", "searches"]
