"""Chooses how a graph is run: the layout of its caches, and the chunks of its prompts."""

from onward_server.errors import ModelFolderError
from onward_server.model.decoder_io import DecoderIO
from onward_server.model.growing_causal_lm import GrowingCausalLM
from onward_server.model.slot_causal_lm import SlotCausalLM
from onward_server.model.source.onnx_file import OnnxFile

_DYNAMIC = frozenset({"DynamicQuantizeLinear", "DynamicQuantizeLSTM", "DynamicQuantizeMatMul"})
"""Operators that quantize a tensor with one scale, so that each token depends on all others in the run."""
_DYNAMIC_CHUNK = 256
"""Tokens in a prefill run of a graph with such operators: see decision 0029."""


def choose_layout(onnx_file: OnnxFile, io: DecoderIO) -> type[SlotCausalLM] | type[GrowingCausalLM]:
    """`SlotCausalLM` if GroupQueryAttention alone reads every cache, else `GrowingCausalLM`.

    Raises:
        ModelFolderError: An operator reads a cache that neither layout has.
    """
    readers = [onnx_file.readers(cache.past_name) for cache in io.caches]
    op_types = set[str]().union(*readers)
    if "PagedAttention" in op_types:
        raise ModelFolderError(
            "the model reads its KV cache by PagedAttention, which is not supported; export it without "
            "use_paged_attention"
        )
    is_shared = op_types == {"GroupQueryAttention"} and all(cache.has_standard_axes for cache in io.caches)
    if is_shared and io.cache_branch is None and not io.takes_single_tokens:
        return SlotCausalLM
    if any(cache.window for cache in io.caches):
        raise ModelFolderError(
            "the model keeps a window of some caches, which needs GroupQueryAttention in every layer; export it with "
            "windowed_kv_cache=false"
        )
    return GrowingCausalLM


def fixed_chunk_of(onnx_file: OnnxFile) -> int | None:
    """The fixed chunk of prompts (see `CausalLM.fixed_chunk`) that the operators of a graph require; None: none."""
    return _DYNAMIC_CHUNK if onnx_file.op_types & _DYNAMIC else None
