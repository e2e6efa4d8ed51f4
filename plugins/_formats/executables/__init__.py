"""Programs: PE, ELF, Mach-O and Java classes."""
