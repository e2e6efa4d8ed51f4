"""Samples for the shipped rules."""
