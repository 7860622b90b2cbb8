"""The onward server: a gRPC completion service over ONNX language models."""
