"""Handlers for AWS Lambda."""
