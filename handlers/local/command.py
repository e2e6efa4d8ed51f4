"""The entry point of `stoq`: a scan's sandbox starts while the command line is still being imported."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command."""
    if {"scan", "demo"}.intersection(sys.argv[1:2]) and not {"--inline", "--help"}.intersection(sys.argv):
        from handlers import first_import  # noqa: F401 - its import starts the sandbox's process

    from handlers.local import cli

    cli.main()
