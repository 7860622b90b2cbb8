"""Writes everything of an exported folder but its graph, and puts the folder in place when it is complete."""
