"""The gRPC server.

Apart from the client commands, only this package imports gRPC and protobuf: see the import contracts in pyproject.toml.
"""
