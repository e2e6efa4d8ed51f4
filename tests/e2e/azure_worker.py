"""Microsoft's worker for Python as a process: what the host sends it by gRPC comes here as JSON lines.

Started as `python3.13 -S -E azure_worker.py BUNDLE RUNTIME`; nothing but the bundle, the runtime and the
standard library is on its path. Answers go to standard output, all that is printed to standard error.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from types import SimpleNamespace
from typing import Any


class Message(SimpleNamespace):
    """A protobuf message of any kind."""

    def WhichOneof(self, _group: str) -> str | None:  # noqa: N802 - protobuf's name
        """The field that is set; messages with a choice have one here."""
        return next((name for name in vars(self) if name != "name"), None)


class BindingInfo(Message):
    """FunctionRpc.proto, *BindingInfo*: the numbers of its directions and data types."""

    inout, out, undefined = 2, 1, 0


class StatusResult(Message):
    """FunctionRpc.proto, *StatusResult*."""

    Failure, Success = 0, 1


class Protos:
    """FunctionRpc.proto: a kind of message for every name."""

    BindingInfo = BindingInfo
    StatusResult = StatusResult

    def __getattr__(self, name: str) -> type[Message]:
        """A message of that name."""
        return type(name, (Message,), {})


def typed(value: Any) -> Message:
    """As the host makes typed data: text is text, a client's place is binding data, the rest JSON."""
    if isinstance(value, str):
        return Message(string=value)
    if isinstance(value, dict) and "ContainerName" in value:
        place = Message(
            version="1.0",
            source="AzureStorageBlobs",
            content_type="application/json",
            content=json.dumps(value),
        )
        return Message(model_binding_data=place)
    return Message(json=json.dumps(value))


def status(result: Message) -> dict[str, Any]:
    """A status as JSON; an error with what the host would log of it."""
    if result.status == StatusResult.Success:
        return {"error": None}
    return {"error": f"{result.exception.message}\n{result.exception.stack_trace}"}


async def answer(asked: dict[str, Any], directory: str) -> dict[str, Any]:
    """One request to the worker."""
    import azure_functions_runtime as runtime

    if asked["call"] == "init":
        init = Message(capabilities={}, function_app_directory=directory)
        request = Message(
            request=Message(worker_init_request=init), properties={"host": "127.0.0.1", "protos": Protos()}
        )
        ready = status((await runtime.worker_init_request(request)).result)
        if ready["error"]:
            return ready
        found = await runtime.functions_metadata_request(Message())
        functions = [
            {
                "id": one.function_id,
                "name": one.name,
                "bindings": [json.loads(raw) for raw in one.raw_bindings],
            }
            for one in found.function_metadata_results
        ]
        return {**status(found.result), "functions": functions}
    invocation = Message(
        invocation_id=asked["invocation"],
        function_id=asked["function"],
        input_data=[Message(name=asked["parameter"], data=typed(asked["data"]))],
        trigger_metadata={name: typed(value) for name, value in asked["metadata"].items()},
        trace_context=Message(trace_parent="", trace_state="", attributes={}),
        retry_context=Message(retry_count=0, max_retry_count=0, exception=None),
    )
    done = await runtime.invocation_request(Message(request=Message(invocation_request=invocation)))
    return status(done.result)


async def main(bundle: str, runtime: str) -> None:
    """Answer until the input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    sys.path[:0] = [os.path.join(bundle, ".python_packages", "lib", "site-packages"), bundle]
    sys.path.append(runtime)
    os.chdir(bundle)
    from azure_functions_runtime import start_threadpool_executor

    start_threadpool_executor()
    for line in sys.stdin:
        print(json.dumps(await answer(json.loads(line), bundle)), file=answers, flush=True)


if __name__ == "__main__":
    sys.path.pop(0)
    asyncio.run(main(*sys.argv[1:]))
