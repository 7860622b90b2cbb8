"""The onward protocol; every file under v1 but its `__init__.py` is generated from `proto/onward/v1`."""
