"""Text: from a request to a prompt, and from token ids to an answer; it knows no protobuf and no arrays."""
