"""JSON Schemas: read once into a tree, checked, and written for llguidance or taken apart for other notations."""
