"""Files below a folder, for back-scans."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from stoq_core.errors import ConfigError
from stoq_core.options import Options, about
from stoq_core.payload import ObjectRef
from stoq_core.plugin import Item, Provider


class FiledirOptions(Options, frozen=True):
    """Where."""

    path: Annotated[str, about("the folder", min_length=1)] = "."
    recursive: Annotated[bool, about("folders below it, too")] = True


class Filedir(Provider[FiledirOptions]):
    """One item a regular file, in a stable order, as a reference that archiver `filedir` fetches."""

    def open(self) -> None:
        """Refuse a folder that is none."""
        if not Path(self.options.path).is_dir():
            message = f"provider.{self.name}.path: {self.options.path} is no folder"
            raise ConfigError(message)

    def items(self) -> Iterator[Item]:
        """Yield what is there; symlinks to folders are not followed."""
        for folder, folders, names in os.walk(self.options.path):
            folders.sort()
            if not self.options.recursive:
                folders.clear()
            for name in sorted(names):
                file = Path(folder, name)
                if file.is_file():
                    yield Item(None, ObjectRef(store="file", bucket="", key=str(file)))
