"""Puts an exported folder in place when it is complete, and writes its genai_config.json."""
