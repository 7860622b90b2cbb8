"""Decodes stored blocks of weights, and quantizes weights into blocks."""
