"""Writes what transformers answers with the weights of SmolLM2-135M-Instruct: the reference of `make test-models`."""
