"""Plugins: providers."""
