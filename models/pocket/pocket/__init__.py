"""The embedded default model: its corpus, training, evaluation and export; it knows nothing of the service."""
