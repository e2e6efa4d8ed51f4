"""What is deployed around the functions on Azure, and what stands at the root of their bundle."""
