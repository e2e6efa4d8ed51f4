"""What peinfo knows of PE files: headers and sections, data directories, Authenticode."""
