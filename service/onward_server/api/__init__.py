"""The gRPC server. Beside the command line's client, only this package imports gRPC and protobuf: see the contract."""
