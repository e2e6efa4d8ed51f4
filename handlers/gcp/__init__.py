"""Handlers for Cloud Run functions."""
