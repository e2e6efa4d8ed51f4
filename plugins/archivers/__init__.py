"""Plugins: archivers."""
