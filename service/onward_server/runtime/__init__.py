"""The engine thread, and how coroutines talk to it."""
