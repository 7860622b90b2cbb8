"""Small tokenizers of each family, made by code, and real ones that lie outside this repository."""

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers, processors, trainers
from tokenizers import Tokenizer as LibraryTokenizer

from onward_server.model.tokenizer import Tokenizer

DATA = Path(__file__).parents[2] / "shared" / "data"
REAL = {"smollm2": DATA / "tok-smollm2", "stories260K": DATA / "stories260K" / "onnx"}

_TEXT = [
    "The cat sat on the mat. The user asked the assistant for an answer in the end.",
    "<tool>im start end</tool> user assistant |im_start| a_b",
    "naïve café, 日本語 text 😀!",
]
_CHATML = ("<|im_start|>", "<|im_end|>")
_THINK = ("<think>", "</think>", "\n\n")
_SENTENCEPIECE = ("<unk>", "<s>", "</s>")


def byte_level() -> LibraryTokenizer:
    """GPT-2's kind, with ChatML tokens, thinking tokens that are not special, and white space as an added token."""
    tokenizer = LibraryTokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=list(_CHATML),
    )
    tokenizer.train_from_iterator(_TEXT, trainer)
    _add(tokenizer, _THINK, special=False)
    return tokenizer


def ignore_merges() -> LibraryTokenizer:
    """Byte level, a whole word of the vocabulary taken as it is, and control tokens are such words."""
    tokenizer = byte_level()
    state = json.loads(tokenizer.to_str())
    state["model"]["ignore_merges"] = True
    state["pre_tokenizer"]["use_regex"] = False
    return LibraryTokenizer.from_str(json.dumps(state))


def byte_fallback() -> LibraryTokenizer:
    """Llama's kind: SentencePiece BPE that falls back to bytes and puts a space before each stretch of text."""
    characters = [*sorted({c for text in _TEXT for c in text if c.isascii()} - {" "}), "▁"]
    merges = [("▁", "t"), ("▁", "a"), ("h", "e"), ("▁t", "he"), ("s", ">"), ("<", "s>"), ("<", "/"), ("</", "s>")]
    tokens = [*_SENTENCEPIECE, *(f"<0x{byte:02X}>" for byte in range(256)), *characters]
    tokens += [left + right for left, right in merges if left + right not in tokens]
    vocabulary = {token: token_id for token_id, token in enumerate(tokens)}
    tokenizer = LibraryTokenizer(models.BPE(vocabulary, merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    _add(tokenizer, _SENTENCEPIECE)
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return tokenizer


def unigram() -> LibraryTokenizer:
    """T5's kind: its normaliser, and the control tokens among its pieces, make control tokens of plain text."""
    characters = [*sorted({c for text in _TEXT for c in text} - {" "}), "▁"]
    pieces = [(token, 0.0) for token in _SENTENCEPIECE] + [(c, -9.0) for c in characters] + [("▁the", -4.0)]
    tokenizer = LibraryTokenizer(models.Unigram(pieces, unk_id=0))
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="first")
    _add(tokenizer, _SENTENCEPIECE)
    return tokenizer


def stripping() -> LibraryTokenizer:
    """Byte level, whose control tokens swallow the white space after them, as Phi-3's do."""
    tokenizer = byte_level()
    _add(tokenizer, ["<|end|>"], rstrip=True)
    return tokenizer


def words() -> LibraryTokenizer:
    """Whole words, and no decoder."""
    tokenizer = LibraryTokenizer(models.WordLevel({"<unk>": 0, "the": 1, "cat": 2}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"\s+"), "removed")
    return tokenizer


def _add(tokenizer: LibraryTokenizer, tokens: Sequence[str], *, special: bool = True, rstrip: bool = False) -> None:
    tokenizer.add_tokens(  # pyright: ignore[reportUnknownMemberType] (a bare `list` in its stub)
        [AddedToken(token, special=special, normalized=False, rstrip=rstrip) for token in tokens]
    )


FAMILIES = {maker.__name__: maker for maker in (byte_level, ignore_merges, byte_fallback, unigram, stripping, words)}


@cache
def load(name: str) -> Tokenizer:
    """A tokenizer of a family or of REAL; skips the test where the real one is not there."""
    if name in REAL:
        if not REAL[name].is_dir():
            pytest.skip(f"the real tokenizer is not there: {REAL[name]}")
        return Tokenizer.load(REAL[name])
    with TemporaryDirectory() as folder:
        FAMILIES[name]().save(f"{folder}/tokenizer.json")
        return Tokenizer.load(Path(folder))
