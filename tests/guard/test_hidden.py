"""GUARD's own prompt representation, on the shipped reference model."""

import numpy as np
import pytest

from guard import reference
from guard.errors import InputError
from guard.hidden import HiddenStateEncoder

PROMPTS = ["Who is Mira Solen?", "Where?", "Tell me about the harbour, the clock and the orchard of Quillon."]


@pytest.fixture(scope="module")
def plain():
    return HiddenStateEncoder(reference.path("nano-full"), normalize=False)


@pytest.fixture(scope="module")
def vectors(plain):
    return plain.encode(PROMPTS)


def test_a_prompt_has_the_same_vector_padded_left_or_right_alone_or_in_a_batch(plain, vectors):
    left = HiddenStateEncoder(reference.path("nano-full"), normalize=False, padding="left")
    size = np.linalg.norm(vectors, axis=1, keepdims=True)
    np.testing.assert_allclose(left.encode(PROMPTS) / size, vectors / size, rtol=0, atol=1e-5)
    alone = np.concatenate([plain.encode([prompt]) for prompt in PROMPTS])
    np.testing.assert_allclose(alone / size, vectors / size, rtol=0, atol=1e-5)


def test_the_vector_is_the_mean_of_the_penultimate_hidden_states(vectors):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = reference.path("nano-full")
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    ids = AutoTokenizer.from_pretrained(folder)(PROMPTS[0], add_special_tokens=False, return_tensors="pt")
    with torch.inference_mode():
        states = model(ids["input_ids"], output_hidden_states=True).hidden_states[-2]
    np.testing.assert_allclose(vectors[0], states[0].mean(dim=0).numpy(), rtol=1e-5, atol=1e-4)


def test_normalized_vectors_have_length_1_and_the_same_direction(vectors):
    unit = HiddenStateEncoder(reference.path("nano-full")).encode(PROMPTS)
    np.testing.assert_allclose(np.linalg.norm(unit, axis=1), 1.0, atol=1e-6)
    np.testing.assert_allclose(unit, vectors / np.linalg.norm(vectors, axis=1, keepdims=True), atol=1e-5)
    assert not np.allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=0.1)


def test_chat_tags_in_a_text_change_nothing(plain, vectors):
    tagged = [f"<|bos|><|user|>{prompt}<|end|><|assistant|>" for prompt in PROMPTS]
    np.testing.assert_allclose(plain.encode(tagged), vectors, rtol=1e-5, atol=1e-4)


def test_a_prompt_beyond_the_models_length_is_read_to_its_end(plain):
    long = "Who is Mira Solen? " * 300
    changed = plain.encode([long, long + "Where is the harbour? " * 50])
    assert np.isfinite(changed).all()
    assert np.abs(changed[0] - changed[1]).max() > 1e-3


def test_a_text_without_tokens_gives_zeros_and_no_text_no_rows(plain):
    assert not plain.encode(["", "<|end|>"]).any()
    assert len(plain.encode([])) == 0


def test_another_layer_gives_another_vector(vectors):
    other = HiddenStateEncoder(reference.path("nano-full"), layer=1, normalize=False).encode(PROMPTS)
    assert other.shape == vectors.shape and not np.allclose(other, vectors, atol=1e-2)


def test_a_folder_without_a_model_is_an_error_that_names_it(tmp_path):
    with pytest.raises(InputError, match=f"{tmp_path}.*config.json"):
        HiddenStateEncoder(tmp_path).encode(["Who?"])
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(InputError, match=f"{tmp_path}.*cannot be loaded"):
        HiddenStateEncoder(tmp_path).encode(["Who?"])


def test_a_layer_that_the_model_lacks_is_an_error_that_names_the_choice():
    with pytest.raises(InputError, match="layer 99 .*choose -"):
        HiddenStateEncoder(reference.path("nano-full"), layer=99).encode(["Who?"])
