"""Writes decoder weights as ONNX model folders that onward and onnxruntime-genai load; it trains and runs nothing."""
