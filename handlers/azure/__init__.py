"""Handlers for Azure Functions."""
