"""The registry: which nodes there are, and how busy."""
