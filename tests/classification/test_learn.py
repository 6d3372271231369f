"""Learning from a person."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from napari_wbcseg.classification.classify import class_list
from napari_wbcseg.classification.crops import PARAMETERS
from napari_wbcseg.classification.learn import forget, least_sure, probabilities_of, renamed, teach
from napari_wbcseg.errors import ModelError, SettingsError
from napari_wbcseg.network.classifier import EXAMPLES, ClassifierFile, read_classifier
from napari_wbcseg.network.library import load_model


def test_a_new_class_is_learned_from_a_few_cells_and_kept_in_a_file(tmp_path: Path) -> None:
    first = read_classifier()
    known = first.weights[EXAMPLES][[list(first.header.examples).index("monocyte")]]
    blasts = np.concatenate([known + 0.3 * step for step in (1, 1.1, 1.2)])
    taught = teach(first, blasts, ["blast"] * 3)
    file = ClassifierFile.write(tmp_path / "own.safetensors", taught.header, taught.weights)
    again = read_classifier(tmp_path / "own.safetensors")
    assert again.hash == file.hash != first.hash
    assert "blast" in class_list(again).names
    found = probabilities_of(again, np.concatenate([blasts, known]))
    assert (found["blast"][:3] > found["blast"][3]).all()
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-5)
    pictures = np.zeros((1, PARAMETERS.side, PARAMETERS.side, 3), np.float32)
    probabilities, embedding = again.predict(pictures)
    expected = probabilities_of(again, embedding).to_numpy()
    np.testing.assert_allclose(probabilities, expected, atol=1e-3)


@pytest.fixture(scope="module")
def slide() -> tuple[ClassifierFile, np.ndarray, np.ndarray]:
    """Return the built-in classifier, and cells of its classes that all share the look of a slide."""
    first = read_classifier()
    known = first.weights[EXAMPLES]
    look = np.random.default_rng(0).normal(0, 0.3, known.shape[1]) * known.std(axis=0)
    return first, known + look, np.array(first.header.examples)


def test_a_class_that_is_renamed_stays_what_it_was() -> None:
    first = read_classifier()
    again = renamed(first, {"erythroblast": "NRBC", "band neutrophil": "stab", "neutrophil": "poly"})
    classes = class_list(renamed(again, {"stab": "rod"}))
    assert not {"erythroblast", "band neutrophil", "stab", "neutrophil"} & {*classes.names}
    assert not classes("NRBC").white_cell
    assert classes.wider("rod") == classes.wider("segmented neutrophil")
    assert classes("rod").colour == class_list(first)("band neutrophil").colour


def test_a_class_gets_no_name_that_another_one_has() -> None:
    first = read_classifier()
    assert renamed(first, {"lymphocyte": "monocyte", "blast": "stone"}) is first


def _first_of(truth: np.ndarray, *kinds: str, count: int = 5) -> np.ndarray:
    """Return the rows of the first cells of some kinds."""
    return np.concatenate([np.flatnonzero(truth == kind)[:count] for kind in kinds])


@pytest.mark.parametrize("name", ["segmented neutrophil", "lymphocyte"])
def test_cells_of_one_class_say_nothing_of_the_others(
    slide: tuple[ClassifierFile, np.ndarray, np.ndarray], name: str
) -> None:
    first, cells, truth = slide
    named = _first_of(truth, name)
    taught = teach(first, cells[named], truth[named].tolist())
    told = probabilities_of(taught, cells).idxmax(axis=1).to_numpy()
    others = (truth != name) & (truth != "band neutrophil")  # which a person may call segmented
    assert (told[others] == truth[others]).mean() > 0.9, "the look of the slide is no class"


@pytest.mark.parametrize("kind", ["monocyte", "lymphocyte"])
def test_a_new_class_takes_up_its_cells_and_no_cell_of_a_slide_without_them(
    slide: tuple[ClassifierFile, np.ndarray, np.ndarray], kind: str
) -> None:
    first, cells, truth = slide
    unlike = np.random.default_rng(1).normal(0, 0.5, cells.shape[1]) * cells.std(axis=0)
    blasts = cells[truth == kind] + unlike
    assert (probabilities_of(first, blasts).idxmax(axis=1) == kind).mean() > 0.8, "as nobody knows better"
    taught = teach(first, blasts[:5], ["blast"] * 5)
    assert (probabilities_of(taught, blasts[5:]).idxmax(axis=1) == "blast").mean() > 0.8
    assert (probabilities_of(taught, first.weights[EXAMPLES]).idxmax(axis=1) == "blast").mean() < 0.02


def test_classes_of_which_nobody_named_a_cell_are_not_taken_for_the_named_ones(
    slide: tuple[ClassifierFile, np.ndarray, np.ndarray],
) -> None:
    first, cells, truth = slide
    named = _first_of(truth, "segmented neutrophil", "lymphocyte", count=12)
    rare = ~np.isin(truth, ("segmented neutrophil", "band neutrophil", "lymphocyte"))
    taught = teach(first, cells[named], truth[named].tolist())
    told = probabilities_of(taught, cells[rare]).idxmax(axis=1)
    assert (told == truth[rare]).mean() > 0.9


def test_one_name_on_the_next_slide_unlearns_nothing(
    slide: tuple[ClassifierFile, np.ndarray, np.ndarray],
) -> None:
    first, cells, truth = slide
    before, one = _first_of(truth, "lymphocyte", "monocyte"), _first_of(truth, "lymphocyte", count=1)
    taught = teach(first, first.weights[EXAMPLES][before], truth[before].tolist())
    taught = teach(taught, cells[one], truth[one].tolist())
    told = probabilities_of(taught, cells).idxmax(axis=1).to_numpy()
    assert (told == truth).mean() > 0.85


def test_what_was_said_of_other_cells_stays_and_nothing_is_no_lesson() -> None:
    first = read_classifier()
    taught = teach(teach(first, first.weights[EXAMPLES][:2], ["a", "b"]), first.weights[EXAMPLES][:1], ["c"])
    assert taught.header.examples == (*first.header.examples, "b", "c"), "the first cell is no a any more"
    assert taught.header.taught == 2
    with pytest.raises(SettingsError, match="No cell is named"):
        teach(first, np.zeros((0, 640), np.float32), [])
    header = first.header.model_copy(update={"examples": ()})
    alone = ClassifierFile.make(header, {n: v for n, v in first.weights.items() if n != EXAMPLES})
    with pytest.raises(SettingsError, match="All named cells are of the class 'a': name some of another one"):
        teach(alone, first.weights[EXAMPLES][:2], ["a", "a"])


def test_a_class_of_which_there_is_no_example_is_not_told_of_cells_that_were_named() -> None:
    first = read_classifier()
    known = np.array(first.header.examples) != "basophil"
    header = first.header.model_copy(update={"examples": tuple(np.array(first.header.examples)[known])})
    fewer = ClassifierFile.make(header, {**first.weights, EXAMPLES: first.weights[EXAMPLES][known]})
    taught = teach(fewer, first.weights[EXAMPLES][:1], ["a"])
    assert probabilities_of(taught, first.weights[EXAMPLES][:1])["basophil"][0] < 1e-9


def test_what_is_forgotten_leaves_the_classifier_as_if_it_was_never_said() -> None:
    first = read_classifier()
    cells = first.weights[EXAMPLES][:3]
    taught = teach(first, cells[:2], ["a", "b"])
    assert forget(taught, cells[2:]) is taught
    again, without = forget(taught, cells[:1]), teach(first, cells[1:2], ["b"])
    assert again.header.examples == without.header.examples
    np.testing.assert_allclose(probabilities_of(again, cells), probabilities_of(without, cells), atol=1e-3)
    nothing = forget(taught, cells)
    assert nothing.header.taught == 0
    np.testing.assert_allclose(probabilities_of(nothing, cells), probabilities_of(first, cells), atol=1e-3)


def test_the_least_sure_cells_that_nobody_named_come_first() -> None:
    cells = pd.DataFrame({"label": [1, 2, 3, 4], "class_probability": [0.9, 0.5, 0.4, 0.7]})
    cells["class_by"] = ["model", "model", "person", "model"]
    assert least_sure(cells) == [1, 3, 0]


def test_a_model_of_another_kind_is_refused_with_a_sentence() -> None:
    with pytest.raises(ModelError, match="tensors, but of no classifier of this package: choose"):
        read_classifier(load_model("wbc").path)


def test_of_a_classifier_that_is_gone_it_is_said_what_to_choose(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"The classifier .* choose another classifier"):
        read_classifier(tmp_path / "gone.safetensors")
