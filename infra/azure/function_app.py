"""The function app: the one trigger of handlers/azure that STOQ_TRIGGER__KIND names, `queue` or `blob`."""

import importlib
import os

from handlers import first_import  # noqa: F401 - before the SDKs, so that the sandbox starts beside them

app = importlib.import_module(f"handlers.azure.{os.environ.get('STOQ_TRIGGER__KIND', 'queue')}").app
