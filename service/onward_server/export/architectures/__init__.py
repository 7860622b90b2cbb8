"""Reads the config.json of a checkpoint as the configuration of a decoder, by family."""
