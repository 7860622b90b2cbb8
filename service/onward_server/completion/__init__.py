"""Completions: from a request to a prompt, and from the token ids that the engine samples to events for the caller."""
