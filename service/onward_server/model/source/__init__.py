"""Finds, downloads and checks the files of a model."""
