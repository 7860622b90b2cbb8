"""Writes decoders with random weights in forms that other tools export, as a server meets them.

Unlike an export of the product, a graph computes the logits of all tokens, and its caches may grow by concatenation.
"""
