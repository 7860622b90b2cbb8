"""Exports checkpoints and GGUF files for a server, in a process of its own, and keeps the exports."""
