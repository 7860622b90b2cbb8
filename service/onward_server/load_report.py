"""Logs which graph of a model is served and how, which other graphs there are, and the memory of all models."""

import logging
from collections.abc import Sequence
from pathlib import Path

from onward_server.model.loader import LoadedModel
from onward_server.model.memory import peak_memory, resident_memory, size_text
from onward_server.model.source.choice import Choice, Graph
from onward_server.model.source.folder import ModelFolder
from onward_server.settings.model_reference import HubRepository, ModelReference
from onward_server.telemetry import fields

logger = logging.getLogger(__name__)

_MAX_LISTED = 12


def log_graph(reference: ModelReference, folder: ModelFolder, choice: Choice, loaded: LoadedModel) -> None:
    """Logs a line about the graph, and another one if there are others to choose from.

    Args:
        reference: What the user named.
        folder: The model's folder.
        choice: How the graph was chosen.
        loaded: The loaded model.
    """
    logger.info(
        "model %s: serving %s (%s), %s, %s, layout %s: %s, %s",
        reference.model_id,
        folder.onnx_path,
        choice.reason,
        loaded.precision,
        size_text(folder.weight_bytes),
        loaded.layout,
        "sequences share runs" if loaded.shares_runs else "one sequence a run",
        loaded.origin,
    )
    if choice.others:
        rest = len(choice.others) - _MAX_LISTED
        logger.info(
            "model %s: %s chooses another graph: %s%s",
            reference.model_id,
            _how_to_choose(reference.location),
            ", ".join(map(_described, choice.others[:_MAX_LISTED])),
            f" and {rest} more" if rest > 0 else "",
        )


def log_memory(models: Sequence[LoadedModel]) -> None:
    """Logs how much memory the process holds, and how much it will hold when all slots are full."""
    held = resident_memory()
    most = held + sum(model.remaining_bytes for model in models)
    logger.info(
        "memory: %s now, at most %s when all slots are full",
        size_text(held),
        size_text(max(most, peak_memory())),
        extra=fields(resident_bytes=held, planned_bytes=max(most, peak_memory())),
    )


def _how_to_choose(location: Path | HubRepository) -> str:
    if isinstance(location, Path) and location.is_file():
        return f"--model {location.parent}/FILE"
    return f"--model {location}:VARIANT or --model-file PATH"


def _described(graph: Graph) -> str:
    return f"{graph.path} ({size_text(graph.num_bytes)})"
