"""Turns the tokenizer of a GGUF file into the files of a Hugging Face tokenizer."""
