"""From token ids to the text, reasoning and tool calls of a choice."""
