"""Reads Hugging Face checkpoint folders: config.json, safetensors files, and the files that describe a model."""
