"""The embedded model, and the scripts that make the models of the tests."""
