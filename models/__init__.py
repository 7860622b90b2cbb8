"""The embedded model, and the code that writes ONNX models."""
