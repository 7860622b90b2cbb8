"""From the token ids of a choice to its text, reasoning and tool calls."""
