"""The onward server: a gRPC completion service over ONNX language models."""

import os

# ONNX Runtime's wheels send usage data to Microsoft unless this variable is 1 when a module of this package loads the
# library. Any other value is overridden, so no environment can turn telemetry on.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
