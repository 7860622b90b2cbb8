"""Opens GGUF files as the source of an export."""
