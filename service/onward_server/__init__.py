"""The onward server: a gRPC completion service over ONNX language models."""

import os

# ONNX Runtime's wheels send usage data to Microsoft unless this variable is 1 when their library is loaded. A module of
# this package loads it. Any other value in the environment is replaced: nothing turns the telemetry on.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
