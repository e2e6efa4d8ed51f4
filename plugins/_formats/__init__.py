"""What files are made of: bounded readers; nothing here knows a plugin or a store."""
