"""Plugins: decorators."""
