"""Makes the small random GGUF files of `tests/data/gguf`, and what their dequantized weights must give."""
