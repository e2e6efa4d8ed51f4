"""Where things are kept: object stores, identities, files and tables."""
