"""Rewrites decoder graphs so that their sequences share slots, in a process of its own."""
