"""Both ends of what a child and the broker talk over, in this process."""

from __future__ import annotations

import os
import socket
import time

from stoq_core.limits import Clock
from stoq_core.sandbox.wire import Channel


class Ends:
    """The broker's channel, and the socket and the bell that a child writes to."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        """Nothing is said yet."""
        mine, self.child = socket.socketpair()
        self.heard, self.bell = os.pipe()
        self.broker = Channel(mine, takes_fds=False, bell=self.heard, clock=clock)

    def close(self) -> None:
        """Close all."""
        self.broker.close()
        self.child.close()
        os.close(self.bell)
