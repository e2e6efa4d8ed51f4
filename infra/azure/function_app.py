"""The function app: the one trigger of handlers/azure that STOQ_TRIGGER__KIND names, `queue` or `blob`."""

import importlib
import os

app = importlib.import_module(f"handlers.azure.{os.environ.get('STOQ_TRIGGER__KIND', 'queue')}").app
