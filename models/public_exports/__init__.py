"""Makes the small random exports of public tools that `make test-models` serves."""
