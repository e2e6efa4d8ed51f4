"""Plugins: dispatchers."""
