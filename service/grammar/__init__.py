"""Constraints on what a model writes, compiled once and matched a token at a time; it knows no requests."""
