"""Every way to hide a file in another: each ends found, or the verdict is not clean."""
