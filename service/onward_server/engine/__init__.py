"""The decoding loop: token ids in, token events out.

Imports no event loop, threads, clock or I/O: see the import contracts in pyproject.toml.
"""
