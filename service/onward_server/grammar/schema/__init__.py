"""Reads JSON Schemas into a tree, checks them, and writes them for llguidance."""
