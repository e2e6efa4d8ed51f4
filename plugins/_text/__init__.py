"""What text says: indicators, passwords, names, entropy, and whether there is room."""
