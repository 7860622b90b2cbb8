"""Writes decoder weights as ONNX model folders, which onward and onnxruntime-genai load."""
