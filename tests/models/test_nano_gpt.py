import itertools

import numpy as np
import pytest

from tests.naive_decoder import NaiveDecoder
from tests.nano_gpt import DATA, REFERENCE, SHAPE, read_tensors, write_nano_gpt

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"the trained model is not there: {DATA}")


@pytest.fixture(scope="module")
def decoder(tmp_path_factory: pytest.TempPathFactory) -> NaiveDecoder:
    return NaiveDecoder(write_nano_gpt(tmp_path_factory.mktemp("nano-gpt")) / "model.onnx")


def test_logits_equal_those_of_the_original(decoder: NaiveDecoder) -> None:
    reference = read_tensors(REFERENCE)
    logits, _ = decoder.forward(reference["idx"].astype(np.int64))
    np.testing.assert_allclose(logits, reference["lm_head"], atol=5e-6)


def test_it_sorts_every_input(decoder: NaiveDecoder) -> None:
    inputs = np.array(list(itertools.product(range(SHAPE.vocab_size), repeat=6)))
    logits, caches = decoder.forward(inputs)
    answers = [logits[:, -1].argmax(axis=-1)]
    while len(answers) < 6:
        logits, caches = decoder.forward(answers[-1][:, None], caches)
        answers.append(logits[:, -1].argmax(axis=-1))
    np.testing.assert_array_equal(np.stack(answers, axis=1), np.sort(inputs, axis=1))
