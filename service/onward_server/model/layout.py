"""Chooses how a graph is run: the layout of its caches, and whether its runs are isolated."""

from onward_server.errors import ModelFolderError
from onward_server.model.decoder_io import DecoderIO
from onward_server.model.growing_causal_lm import GrowingCausalLM
from onward_server.model.slot_causal_lm import SlotCausalLM
from onward_server.model.source.onnx_file import OnnxFile

_DYNAMIC = frozenset({"DynamicQuantizeLinear", "DynamicQuantizeLSTM", "DynamicQuantizeMatMul"})
"""Operators that quantize a tensor with one scale, so that the result for a token depends on the others in its run."""
MAX_ISOLATION_CHUNK = 256
"""Maximum number of tokens in a prefill run whose result depends on them: see decision 0029."""


def choose_layout(onnx_file: OnnxFile, io: DecoderIO) -> type[SlotCausalLM] | type[GrowingCausalLM]:
    """`SlotCausalLM` if GroupQueryAttention alone reads every cache, else `GrowingCausalLM`.

    Raises:
        ModelFolderError: The graph reads its caches in a way that neither layout supports.
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


def quantizes_dynamically(onnx_file: OnnxFile) -> bool:
    """Whether a token's result depends on the other tokens in its run."""
    return bool(onnx_file.op_types & _DYNAMIC)
