"""Grammars of tool arguments, in each notation that a tool format uses."""
