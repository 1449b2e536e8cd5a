"""The relevance model: read, written, computed, and refused where it does not fit."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from guard.classifier import Classifier
from guard.detectors import FEATURES
from guard.errors import InputError
from guard.relevance import FORMAT, SHIPPED, Relevance, probability, shipped
from guard.snapshot import compile_snapshot

NAMES = ("near", "rare")
LOGISTIC = Relevance(NAMES, ((np.array([[2.0], [-0.5]]), np.array([0.25])),), 1.5, -0.5)
HIDDEN = (np.array([[1.0, -1.0], [2.0, 1.0]]), np.array([0.5, 0.0]))
NETWORK = Relevance(NAMES, (HIDDEN, (np.array([[3.0], [4.0]]), np.array([-1.0]))), 1.5, -0.5)


def test_one_layer_is_the_logistic_model_computed_by_hand():
    # 2 * 0.75 - 0.5 * 3 + 0.25 and 2 * 0 - 0.5 * 0 + 0.25
    assert LOGISTIC.logits(np.array([[0.75, 3.0], [0.0, 0.0]])).tolist() == [0.25, 0.25]
    assert probability(0.25) == pytest.approx(0.5621765)


def test_a_hidden_layer_lets_only_what_is_positive_through():
    # (1, 1): hidden (3.5, 0), so 3 * 3.5 - 1; (-2, 0.5): hidden (-0.5, 2.5), so 4 * 2.5 - 1
    assert NETWORK.logits(np.array([[1.0, 1.0], [-2.0, 0.5]])).tolist() == [9.5, 9.0]


def test_probability_keeps_its_bounds_far_out():
    assert (probability(-1e6), probability(0.0), probability(1e6)) == (0.0, 0.5, 1.0)
    assert probability(-math.inf) == 0.0 and probability(math.inf) == 1.0


@pytest.mark.parametrize("model", [LOGISTIC, NETWORK])
def test_a_written_model_is_read_back(model):
    read = Relevance.parse(json.loads(json.dumps(model.to_json())), NAMES)
    assert (read.features, read.threshold, read.watch) == (NAMES, 1.5, -0.5)
    values = np.array([[0.1, 7.0], [3.0, -2.0]])
    assert read.logits(values).tolist() == model.logits(values).tolist()


@pytest.mark.parametrize(
    ("features", "said"), [(("near", "length"), "length, rare"), (("rare", "near"), "in another order")]
)
def test_a_model_of_other_features_is_refused_with_what_differs(features, said):
    with pytest.raises(InputError, match=rf"other features \({said}\); fit it anew"):
        Relevance.parse(LOGISTIC.to_json(), features)


@pytest.mark.parametrize("given", [1, "2", None])
def test_a_model_of_another_format_is_refused(given):
    with pytest.raises(InputError, match=rf"has format {given!r}, not {FORMAT}; fit it anew"):
        Relevance.parse(LOGISTIC.to_json() | {"format": given}, NAMES)


@pytest.mark.parametrize("field", ["features", "layers", "threshold", "watch"])
def test_a_model_that_lacks_a_field_is_refused_as_damaged(field):
    data = LOGISTIC.to_json()
    del data[field]
    with pytest.raises(InputError, match="damaged"):
        Relevance.parse(data, NAMES)


def test_the_shipped_model_fits_the_detectors_and_watches_before_it_routes():
    model = shipped(FEATURES)
    assert model.features == FEATURES
    assert model.watch < model.threshold
    assert model.layers[0][0].shape[0] == len(FEATURES) and model.layers[-1][0].shape[1] == 1
    assert np.isfinite(model.logits(np.zeros((1, len(FEATURES))))).all()
    assert json.loads(SHIPPED.read_text())["format"] == FORMAT


@pytest.fixture
def real(mira, encoder):
    return Classifier(compile_snapshot([mira]), encoder)


def test_the_shipped_model_finds_a_paraphrase_that_names_the_person_misspelt(real):
    routing = real.route(["For a living, what work did the father of Mria Sloen do?"])
    assert routing.target_ids == ("mira",)


@pytest.mark.parametrize("name", ["Tova Brenn", "Bero Tal", "Vera Tolen"])
def test_the_shipped_model_leaves_the_same_question_about_another_person(real, name):
    assert real.route([f"What does {name}'s father do?"]).target_ids == ()


def test_a_model_in_use_is_the_given_one(mira, encoder):
    high = replace(shipped(FEATURES), threshold=3.0, watch=2.0)
    classifier = Classifier(compile_snapshot([mira]), encoder, relevance=high)
    assert classifier.bars("mira").statistic == 1.0
