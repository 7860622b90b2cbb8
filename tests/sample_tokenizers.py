"""Small tokenizers of each family, made by code."""

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers, processors, trainers
from tokenizers import Tokenizer as LibraryTokenizer

from onward_server.model.tokenizer import Tokenizer
from testing.vocabularies import byte_alphabet, large_vocabulary

_TEXT = [
    "The cat sat on the mat. The user asked the assistant for an answer in the end.",
    "<tool>im start end</tool> user assistant |im_start| a_b",
    "naïve café, 日本語 text 😀!",
]
CORPUS = (Path(__file__).parent / "data/tokenizer_text.txt").read_text(encoding="utf-8").splitlines(keepends=True)
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
    """T5's kind: its normalizer, and the control tokens among its pieces, make control tokens of plain text."""
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


def digits() -> LibraryTokenizer:
    """SmolLM's kind: byte level, each digit a token of its own; bytes without a token are dropped."""
    never_in_text = {0xC0, 0xC1, *range(0xF5, 0x100), *range(0x01, 0x09)}
    alphabet = [character for byte, character in enumerate(byte_alphabet()) if byte not in never_in_text]
    before = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(False)])  # noqa: FBT003
    return _trained_on_bytes(before, alphabet, ["<|endoftext|>", *_CHATML])


def numbers() -> LibraryTokenizer:
    """Llama 3's kind: digits by three, whole words without merges, and a control token before each text."""
    words = r"[^\r\n\p{L}\p{N}]?\p{L}+(?:'\p{L}{1,2})?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    names = ["<|begin|>", "<|header|>", "<|/header|>", "<|reserved_0|>", "<|reserved_1|>"]
    tokenizer = _trained_on_bytes(_split(words), byte_alphabet(), names)
    tokenizer.post_processor = processors.Sequence(
        [
            processors.ByteLevel(trim_offsets=False),
            processors.TemplateProcessing(single="<|begin|> $A", special_tokens=[("<|begin|>", 0)]),
        ]
    )
    state = json.loads(tokenizer.to_str())
    state["model"]["ignore_merges"] = True
    return LibraryTokenizer.from_str(json.dumps(state))


def cases() -> LibraryTokenizer:
    """Tekken's kind: an expression that parts words where their case changes, and many control tokens in brackets."""
    words = r"[^\r\n\p{L}\p{N}]?\p{Lu}?[\p{Ll}\p{Lo}\p{M}]+|\p{Lu}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+"
    names = ["<unk>", "<s>", "</s>", "[INST]", "[/INST]", "[TOOL_CALLS]", "[ARGS]", "[THINK]", "[/THINK]"]
    tokenizer = _trained_on_bytes(_split(words), byte_alphabet(), [*names, *(f"<SPECIAL_{i}>" for i in range(9, 30))])
    _add(tokenizer, ["\u3000", "    "], special=False)
    return tokenizer


def composed() -> LibraryTokenizer:
    """Qwen's kind: NFC before anything else, tool markers that are not special, and control tokens after all words."""
    tokenizer = _trained_on_bytes(_split(r"\s*\p{L}+|\p{N}|[^\s\p{L}\p{N}]+|\s+"), byte_alphabet(), [])
    tokenizer.normalizer = normalizers.NFC()
    _add(tokenizer, ["<|endoftext|>", *_CHATML])
    _add(tokenizer, ["<tool_call>", "</tool_call>", "<think>", "</think>"], special=False)
    return tokenizer


def pieces() -> LibraryTokenizer:
    """Mistral's and Llama 2's kind: SentencePiece BPE with a space before each stretch of text, and byte fallback."""
    tokenizer = _trained_on_pieces("▁", [*_SENTENCEPIECE, "[INST]", "[/INST]"])
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return tokenizer


def first_pieces() -> LibraryTokenizer:
    """Newer exports of the same kind: a space at the start of the whole text alone, put there by Metaspace."""
    tokenizer = _trained_on_pieces("▁", [*_SENTENCEPIECE, "[INST]", "[/INST]"])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return tokenizer


def bare_pieces() -> LibraryTokenizer:
    """Gemma's kind: pieces with no space put before a text, and runs of white space as added tokens."""
    tokenizer = _trained_on_pieces("", ["<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>"])
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    _add(tokenizer, ["\n\n", "\n\n\n", "▁▁▁▁", "<b>", "</b>"], special=False)
    tokenizer.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", 2)])
    return tokenizer


def large() -> LibraryTokenizer:
    """49,152 tokens, of which many end within a character."""
    return LibraryTokenizer.from_str(large_vocabulary().tokenizer_json)


def _split(expression: str) -> pre_tokenizers.PreTokenizer:
    steps = [pre_tokenizers.Split(Regex(expression), "isolated"), pre_tokenizers.ByteLevel(False, use_regex=False)]  # noqa: FBT003
    return pre_tokenizers.Sequence(steps)


def _trained_on_bytes(
    before: pre_tokenizers.PreTokenizer, alphabet: list[str], special_tokens: list[str]
) -> LibraryTokenizer:
    """A byte-level BPE of 900 tokens."""
    tokenizer = LibraryTokenizer(models.BPE())
    tokenizer.pre_tokenizer = before
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=900, show_progress=False, initial_alphabet=alphabet, special_tokens=special_tokens
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    state = json.loads(tokenizer.to_str())
    missing = set(byte_alphabet()) - set(alphabet)
    assert not missing & set(state["model"]["vocab"]), "the text for training has none of them"
    return tokenizer


def _trained_on_pieces(before: str, special_tokens: list[str]) -> LibraryTokenizer:
    """A BPE of SentencePiece's kind with 1,000 tokens: the special ones, 256 for bytes, then pieces of words."""
    byte_tokens = [f"<0x{byte:02X}>" for byte in range(256)]
    tokenizer = LibraryTokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("▁?[^▁]+|▁+"), "isolated")
    trainer = trainers.BpeTrainer(
        vocab_size=1000, show_progress=False, limit_alphabet=120, special_tokens=[*special_tokens, *byte_tokens]
    )
    tokenizer.train_from_iterator((before + line.replace(" ", "▁") for line in CORPUS), trainer)
    state = json.loads(tokenizer.to_str())
    state["added_tokens"] = [token for token in state["added_tokens"] if token["content"] not in byte_tokens]
    state["pre_tokenizer"] = None
    return LibraryTokenizer.from_str(json.dumps(state))


def _add(tokenizer: LibraryTokenizer, tokens: Sequence[str], *, special: bool = True, rstrip: bool = False) -> None:
    tokenizer.add_tokens(  # pyright: ignore[reportUnknownMemberType] (a bare `list` in its stub)
        [AddedToken(token, special=special, normalized=False, rstrip=rstrip) for token in tokens]
    )


_OF_BYTES = (byte_level, ignore_merges, stripping, digits, numbers, cases, composed, large)
_OF_PIECES = (byte_fallback, unigram, pieces, first_pieces, bare_pieces)
FAMILIES = {maker.__name__: maker for maker in (*_OF_BYTES, *_OF_PIECES, words)}


@cache
def load(name: str) -> Tokenizer:
    """A tokenizer of a family."""
    with TemporaryDirectory() as folder:
        FAMILIES[name]().save(f"{folder}/tokenizer.json")
        return Tokenizer.load(Path(folder))
