"""The only importer of onnx: decoder graphs that can be searched, evaluated in part, and changed."""
