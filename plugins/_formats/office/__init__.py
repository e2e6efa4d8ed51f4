"""Office documents: compound files, VBA, RTF, OOXML parts and their encryption."""
