"""Logs which graph of a model is served and how, and which others there are."""

import logging

from onward_server.model.loader import LoadedModel
from onward_server.model.source.choice import Choice, Graph
from onward_server.model.source.folder import ModelFolder
from onward_server.settings.model_reference import ModelReference

logger = logging.getLogger(__name__)

_MAX_LISTED = 12
_LAYOUTS = {
    "slots": "slots: sequences share runs",
    "growing": "growing: one sequence a run",
}


def log_graph(reference: ModelReference, folder: ModelFolder, choice: Choice | None, loaded: LoadedModel) -> None:
    """Logs a line about the graph, and another one if there are others to choose from.

    Args:
        reference: What the user named.
        folder: The folder that it led to.
        choice: How the graph was chosen; None: its file was named.
        loaded: The loaded model.
    """
    logger.info(
        "model %s: serving %s (%s), %s, %s, layout %s, %s",
        reference.model_id,
        folder.onnx_path,
        choice.reason if choice else "named by --model",
        loaded.precision,
        _size(folder.weight_bytes),
        _LAYOUTS[loaded.layout],
        loaded.origin,
    )
    if choice and choice.others:
        rest = len(choice.others) - _MAX_LISTED
        logger.info(
            "model %s: --model %s:VARIANT or --model-file PATH chooses another graph: %s%s",
            reference.model_id,
            reference.location,
            ", ".join(map(_described, choice.others[:_MAX_LISTED])),
            f" and {rest} more" if rest > 0 else "",
        )


def _described(graph: Graph) -> str:
    return f"{graph.path} ({graph.variant}, {_size(graph.num_bytes)})"


def _size(num_bytes: int) -> str:
    return f"{num_bytes / 2**30:.1f} GiB" if num_bytes >= 2**30 else f"{num_bytes / 2**20:.1f} MiB"
