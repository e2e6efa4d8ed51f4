"""How the functions are built and deployed."""
