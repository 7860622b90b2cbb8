"""Weights and tokens: model folders, sessions, KV memory and tokenizers."""
