"""From the messages of a request to the token ids of its prompt."""
