"""Decodes stored floats and blocks of weights, and quantizes weights into blocks."""
