"""Writes the ONNX graph of a decoder and the file of its weights."""
