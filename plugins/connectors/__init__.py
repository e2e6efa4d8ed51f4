"""Plugins: connectors."""
