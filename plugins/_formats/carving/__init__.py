"""Formats that stand anywhere in a payload: their marks, where they end, and the pass that finds them."""
