"""Encodings of bytes as text: found wherever they stand, decoded, and judged by what comes out."""
