"""The edge: the only package that knows gRPC and protobuf; it does not know how an answer is made."""
