"""Azure Functions: scan each blob that Event Grid names to the blob trigger itself.

The trigger tells no delivery count and keeps a queue of its own, so an object that kills the function
each time never reaches safe mode but ends in `webjobs-blobtrigger-poison`: prefer the queue.
"""

from __future__ import annotations

import azure.functions as func
from azurefunctions.extensions.bindings.blob import BlobClient

from handlers import first_import, records
from handlers.azure.events import BlobClient as Client
from handlers.azure.events import refs_of_client

app = func.FunctionApp()


def respond(scanner: records.Scanner, client: Client, left_ms: float) -> None:
    """Returns when the blob's result is stored, else raises: the platform tries again."""
    records.scan_all(scanner, refs_of_client(client), records.deadline(left_ms))


@app.blob_trigger(
    arg_name="client",
    path="%STOQ_TRIGGER__BUCKET%/{name}",
    connection="Incoming",
    source=func.BlobSource.EVENT_GRID,
)
def scan_blob(client: BlobClient) -> None:
    """The function; of the client only the reference is taken, the archiver fetches what it pins."""
    respond(PIPELINE, client, PIPELINE.config.limits.request_wall_ms)


PIPELINE = first_import.cold_start()
