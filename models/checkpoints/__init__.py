"""Makes the small random checkpoints of `tests/data/checkpoints`, and what transformers gives for them."""
