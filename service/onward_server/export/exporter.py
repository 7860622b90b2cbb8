"""Exports a checkpoint or a GGUF file: opens and checks the source, and writes the folder."""

import os
from pathlib import Path

from onward_server.errors import ExportError, ModelFolderError
from onward_server.export.graph.plan import MODEL_FILE, DecoderPlan
from onward_server.export.opening import open_source
from onward_server.export.output.genai_config import write_genai_config
from onward_server.export.output.staging import require_space, staged, usable_output
from onward_server.export.source import Source
from onward_server.model.exporting.precision import Precision
from onward_server.model.exporting.progress import ExportProgress
from onward_server.model.source.access import list_files
from onward_server.model.source.description import Description
from onward_server.model.tokenizer import Tokenizer
from onward_server.version import VERSION

_DESCRIPTION_BYTES = 64 << 20
"""Room on the disk for everything but the weights."""


def export_model(source: Path, output: Path, precision: Precision, progress: ExportProgress) -> int:
    """Writes a model as a folder that can be served, and returns the size of its files in bytes.

    The folder appears when it is complete. Two exports of one source are equal byte for byte.

    Args:
        source: A checkpoint folder or a GGUF file.
        output: The folder to create. It may exist if it is empty.
        precision: How weights are stored.
        progress: Shows what is done.

    Raises:
        StartupError: The source cannot be exported, which is checked before anything is written; or the folder cannot
            be written, and nothing of it was kept.
    """
    folder = usable_output(output)
    if folder.is_relative_to(os.path.realpath(source)):
        raise ExportError(f"{output} is in {source}, which would be exported into itself; name a folder outside it")
    return export_source(open_source(source), source, folder, precision, progress)


def export_source(source: Source, path: Path, output: Path, precision: Precision, progress: ExportProgress) -> int:
    """Like `export_model`, for a source that is open already, and an output that `usable_output` has returned."""
    plan = DecoderPlan.of(source.config, source.tensors, precision)
    require_space(output, plan.num_bytes + _DESCRIPTION_BYTES)
    with staged(output) as folder:
        _describe(source, path, folder, plan)
        with progress.weights(plan.weight_bytes) as advance:
            plan.write(folder, advance, _provenance(path, precision))
        return sum(list_files(folder).values())


def _describe(source: Source, path: Path, folder: Path, plan: DecoderPlan) -> None:
    """Writes the description files, and reads them as a server will, so that a bad one is reported now."""
    source.write_descriptions(folder)
    try:
        write_genai_config(
            folder,
            source.config,
            graph=MODEL_FILE,
            inputs=plan.inputs,
            head_size=plan.cache_head_size,
            shares_cache=plan.shares_cache,
        )
        Description.read(folder)
        Tokenizer.load(folder, num_logits=source.config.vocab_size)
    except ModelFolderError as error:
        raise ExportError(str(error).replace(str(folder), str(path))) from error


def _provenance(path: Path, precision: Precision) -> dict[str, str]:
    """Metadata of the graph. It has no dates, so that two exports of one source are equal."""
    absolute = Path(os.path.realpath(path))
    is_snapshot = absolute.parent.name == "snapshots"  # in the Hugging Face cache: models--OWNER--NAME/snapshots/COMMIT
    name = f"{absolute.parents[1].name}@{absolute.name}" if is_snapshot else absolute.name
    text = os.fsencode(name).decode(errors="replace")  # a path may hold bytes that are not UTF-8
    return {"onward.source": text, "onward.precision": precision, "onward.version": VERSION}
