"""Grammars of tool arguments, in each notation in which models write them."""
