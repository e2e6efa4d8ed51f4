"""A bounded, forgiving reader of PDF: objects found by scanning, streams decoded in chunks."""
