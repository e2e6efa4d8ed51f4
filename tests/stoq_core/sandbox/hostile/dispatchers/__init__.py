"""Dispatchers that lie."""
