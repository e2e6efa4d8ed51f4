"""The six plugin kinds, what a worker may yield, and the `Job` that it is handed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, TypeVar, get_args

import msgspec

from .errors import PluginError
from .job import Finding, Job
from .limits import Limits
from .operations import Tool
from .options import Options
from .payload import ObjectRef, Payload

if TYPE_CHECKING:
    from .response import ScanResponse

Role = Literal["identifies", "searches", "opens"]
"""What every payload needs before it may be called clean (`scan.floor`)."""

KINDS = ("worker", "dispatcher", "decorator", "archiver", "connector", "provider")


class Accepts(msgspec.Struct, frozen=True, kw_only=True):
    """A cheap filter: a payload that it refuses does not concern the worker at all.

    `magic` are prefixes, any of which must match at `magic_offset`; sizes are in bytes.
    """

    magic: tuple[bytes, ...] = ()
    magic_offset: int = 0
    min_bytes: int = 0

    def match(self, payload: Payload) -> bool:
        """True if the worker should see the payload."""
        if payload.size < self.min_bytes:
            return False
        if not self.magic:
            return True
        longest = max(len(one) for one in self.magic)
        head = bytes(payload.view()[self.magic_offset : self.magic_offset + longest])
        return head.startswith(self.magic)


_O = TypeVar("_O", bound=Options)


class Plugin(Generic[_O]):
    """Base of all plugins; the name is the module's, the options' type is the generic argument."""

    kind: ClassVar[str] = ""
    options_type: ClassVar[type[Options]] = Options
    libraries: ClassVar[Mapping[str, str]] = {}
    """Modules that this plugin imports when it works, and the extra (or advice) that brings each."""
    tools: ClassVar[Mapping[str, Tool]] = {}
    """Programs that this plugin runs with `job.tool`, each with all that it is made to do."""
    errors: ClassVar[Mapping[str, str]] = {}
    """Error codes that this plugin reports, and what each means."""
    findings: ClassVar[Mapping[str, tuple[int, str, tuple[str, ...]]]] = {}
    """What this plugin finds, by name: score, what it means, ATT&CK techniques; see `finding`."""

    def __init__(self, options: _O, name: str) -> None:
        """`options` are validated already; `name` is the plugin's, or the named instance's."""
        self.options = options
        self.name = name

    def warnings(self) -> Iterable[str]:
        """What whoever deploys should mend though it works without; asked once, at the start."""
        return ()

    def finding(self, name: str, detail: str = "") -> Finding:
        """A declared finding with its score and techniques; `detail` says what was seen in this payload."""
        score, _, attack = self.findings[name]
        return Finding(name, score, detail, attack)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Find the options' type in `class Hash(Worker[HashOptions])`."""
        super().__init_subclass__(**kwargs)
        for base in getattr(cls, "__orig_bases__", ()):
            for arg in get_args(base):
                if isinstance(arg, type) and issubclass(arg, Options):
                    cls.options_type = arg


class Worker(Plugin[_O]):
    """Looks at one payload and yields what it finds. Runs in the sandbox unless `runs = "broker"`.

    A broker worker (for a service on the network) runs after all others, in the process that holds the
    credentials; its `scan` is given an `OpaquePayload`, whose bytes it can only hand on.
    """

    kind = "worker"
    accepts: ClassVar[Accepts] = Accepts()
    requires: ClassVar[tuple[str, ...]] = ()
    limits: ClassVar[Limits] = Limits()
    runs: ClassVar[Literal["sandbox", "broker"]] = "sandbox"
    essential: ClassVar[bool] = True
    reads_meta: ClassVar[bool] = False
    last: ClassVar[bool] = False
    """Run behind the others of its round, and be shown the accounts that they kept (`job.accounts`)."""
    roles: tuple[Role, ...] = ()
    """`identifies`: its result says `label` and `kind` (container, encoding, leaf, media, text, or unknown).
    `searches`: it looks for what is bad in all bytes. `opens`: it takes what its type holds out of it.
    An instance whose options keep it from that says so with less."""
    result: ClassVar[type[msgspec.Struct] | None] = None
    """The struct that documents the result's fields."""

    def warm(self) -> None:
        """Bring imports and read-only data before the first fork; never work on bytes here."""

    def scan(self, payload: Payload, job: Job) -> Iterable[Any]:
        """Yield emits, or return a list of them; raise `PluginError` for a file that cannot be handled.

        What is yielded is kept, whatever happens to the process later. A list is all or nothing, and costs
        less: for a worker that has little to say once it is done.
        """
        raise PluginError("not_a_worker", f"{self.name} does not define scan()")


class Dispatcher(Plugin[_O]):
    """Says which workers a payload needs; `reads_results` ones are asked again after each round."""

    kind = "dispatcher"
    limits: ClassVar[Limits] = Limits()
    reads_results: ClassVar[bool] = False
    reads_meta: ClassVar[bool] = False
    essential: ClassVar[bool] = True

    def warm(self) -> None:
        """Bring imports and read-only data before the first fork."""

    def dispatch(self, payload: Payload, job: Job) -> Iterable[Any]:
        """Yield or return `Dispatch`; also `Finding`, and `Archive(False)` to keep bytes out of archives."""
        raise PluginError("not_a_dispatcher", f"{self.name} does not define dispatch()")


class BrokerPlugin(Plugin[_O]):
    """A plugin of the process that holds the credentials: it is opened once and closed at the end."""

    def open(self) -> None:
        """Make clients; called once, at the start."""

    def close(self) -> None:
        """Flush and let go."""


class ArchiveContext(msgspec.Struct, frozen=True, kw_only=True):
    """What an archiver may know beside the payload: ids, the digest, and the payload's report."""

    scan_id: str
    sha256: str
    report: Any


class Archiver(BrokerPlugin[_O]):
    """Keeps payload bytes and fetches them again; writing the same bytes twice makes one object."""

    kind = "archiver"

    def archive(self, payload: Payload, context: ArchiveContext) -> dict[str, Any]:
        """Store the bytes; return where (JSON-like). Raises `StoreError`."""
        raise StoreUnsupported(self.name, "archive")

    def get(self, ref: ObjectRef, max_bytes: int) -> Payload:
        """Fetch exactly the version that `ref` names, streaming, at most `max_bytes`.

        Raises `StoreError` with reason `superseded` (a newer version stands there), `not_fetched`
        (gone), `too_large`, or retryable (denied, throttled, unreachable).
        """
        raise StoreUnsupported(self.name, "get")


class Decorator(BrokerPlugin[_O]):
    """Adds to the whole result: mappings (merged under its name), `Finding`s, `On(payload_id, Finding)`.

    It sees the verdict so far, with what the decorators before it found.
    """

    kind = "decorator"
    may_lower: ClassVar[bool] = False
    """Whether its findings may have negative scores; a lower score never makes a result complete."""

    def decorate(self, response: ScanResponse) -> Iterator[Any]:
        """Yield what to add."""
        raise StoreUnsupported(self.name, "decorate")


class Connector(BrokerPlugin[_O]):
    """Stores the finished result; `shape` says whether whole documents or flat ones."""

    kind = "connector"
    shape: ClassVar[Literal["document", "flat"]] = "document"

    def save(self, response: ScanResponse) -> None:
        """Store it. Raises `StoreError`."""
        raise StoreUnsupported(self.name, "save")


class Item:
    """One thing that a provider pulled: a payload to scan and the way to acknowledge it."""

    def __init__(self, payload: Payload | None, ref: ObjectRef | None = None) -> None:
        """Bytes, or a reference that an archiver fetches."""
        self.payload = payload
        self.ref = ref

    def done(self) -> None:
        """The result is stored: acknowledge."""

    def failed(self, error: Exception) -> None:
        """The result could not be stored: give the item back."""


class Provider(BrokerPlugin[_O]):
    """A source to pull from, for the command line and back-scans."""

    kind = "provider"

    def items(self) -> Iterator[Item]:
        """Yield what is there."""
        raise StoreUnsupported(self.name, "items")


class StoreUnsupported(PluginError):
    """A plugin was asked for something that its kind may do but this one does not."""

    def __init__(self, plugin: str, method: str) -> None:
        """Name both."""
        super().__init__("unsupported", f"plugin {plugin!r} does not offer {method}()")
