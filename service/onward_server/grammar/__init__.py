"""Constraints on what a model writes, compiled for each answer and matched a token at a time; it knows no requests."""
