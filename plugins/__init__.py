"""The plugins that ship with stoQ: one file a plugin, one folder a kind."""
