"""Cloud functions and the command line: thin layers that translate events."""
