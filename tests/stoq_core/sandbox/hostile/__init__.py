"""Plugins for tests of the sandbox."""
