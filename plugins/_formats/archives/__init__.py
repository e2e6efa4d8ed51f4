"""Archive and compression formats, read in process and in chunks; one file a family."""
