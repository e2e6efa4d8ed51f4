"""A file a family of hosts; each registers places with `@place`."""
