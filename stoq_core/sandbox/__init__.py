"""The sandbox: hostile bytes are parsed in children without credentials, files, network or privileges."""
