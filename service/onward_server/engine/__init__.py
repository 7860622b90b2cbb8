"""The decoding loop; it knows no text, clock, thread, protobuf or I/O."""
