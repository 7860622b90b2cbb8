"""One module a skill, each a generator of conversations; they know nothing of tokens."""
