"""Who the process is on Azure, for the SDKs that do not find out by themselves."""

from __future__ import annotations

import os
from typing import Any

LIBRARIES = {"azure.identity": "the extra azure (requirements-azure.txt)"}


def identity() -> Any:
    """The function's managed identity (`AZURE_CLIENT_ID` names one of several); else what `az login` left."""
    if "IDENTITY_ENDPOINT" in os.environ:
        from azure.identity import ManagedIdentityCredential

        return ManagedIdentityCredential(client_id=os.environ.get("AZURE_CLIENT_ID"))
    from azure.identity import DefaultAzureCredential

    return DefaultAzureCredential()
