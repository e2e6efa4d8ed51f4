"""Results on standard output, one JSON document a line."""

from __future__ import annotations

import sys
from typing import Annotated

import msgspec

from stoq_core.options import Options, about
from stoq_core.plugin import Connector
from stoq_core.render import encode
from stoq_core.response import ScanResponse


class StdoutOptions(Options, frozen=True):
    """How it looks."""

    pretty: Annotated[bool, about("indent, over several lines")] = False


class Stdout(Connector[StdoutOptions]):
    """Prints each document."""

    def save(self, response: ScanResponse) -> None:
        """Print it and flush."""
        made = encode(response)
        if self.options.pretty:
            made = msgspec.json.format(made, indent=2)
        sys.stdout.write(made.decode("utf-8") + "\n")
        sys.stdout.flush()
