"""Models that ship with onward, and what writes them; nothing here is imported by the server."""
