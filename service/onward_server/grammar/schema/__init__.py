"""JSON Schemas: read into a tree, checked, and written for llguidance or split by type for other notations."""
