"""Weights and tokens: model folders, sessions, KV memory, tokenizers; it knows no requests."""
