"""Writes checkpoints and GGUF files as ONNX model folders, with numpy alone."""
