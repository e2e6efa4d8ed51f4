"""Shannon entropy of bytes, counted by a library."""

from __future__ import annotations

import os
from typing import Any

from stoq_core.payload import Payload

# yara-x counts bytes in Rust: 20 MB take 24 ms here, 256 times bytes.count 2.1 s
_RULE = 'import "math" import "console" rule e { condition: console.log("", math.entropy(0, filesize)) }'


class Measure:
    """A scanner whose one rule logs the entropy, in bits a byte; not shared: a scanner serves one thread."""

    _rules: Any = None

    def __init__(self) -> None:
        import yara_x

        cls = type(self)
        if cls._rules is None:
            cls._rules = yara_x.compile(_RULE)
        self._logged: list[str] = []
        self._scanner = yara_x.Scanner(cls._rules)
        self._scanner.console_log(self._logged.append)

    def bytes(self, content: bytes) -> float:
        """Of these bytes."""
        self._scanner.scan(content)
        return round(float(self._logged.pop()), 6)

    def payload(self, payload: Payload) -> float:
        """Of all of a payload, without a copy of a large one."""
        fd = payload.body.fd
        if fd is None or not os.path.exists("/proc/self/fd"):
            return self.bytes(payload.content)
        self._scanner.scan_file(f"/proc/self/fd/{fd}")
        return round(float(self._logged.pop()), 6)
