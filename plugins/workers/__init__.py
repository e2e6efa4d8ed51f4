"""Plugins: workers."""
