"""Plugins that only the end-to-end tests deploy."""
