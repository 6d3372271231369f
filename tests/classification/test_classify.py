"""The classes of cells that are outlined already."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from napari_wbcseg import SegmentationSettings, segment, synthetic_smear
from napari_wbcseg.classification.classes import BUILT_IN_CLASSES
from napari_wbcseg.classification.classify import class_list, classifier_of, classify_cells, predict_labels
from napari_wbcseg.classification.naming import each_named
from napari_wbcseg.errors import ImageError, ModelError
from napari_wbcseg.network.classifier import ClassifierFile, read_classifier

from ..discs import CLASSES, PINK, VIOLET, discs, write_taught

COLOURS = PINK, VIOLET, VIOLET, PINK
NAMES = ["pink", "violet", "violet", "pink"]


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> ClassifierFile:
    return write_taught(tmp_path_factory.mktemp("taught") / "own.safetensors")


def test_each_cell_gets_a_class_its_probabilities_and_who_said_so(classifier: ClassifierFile) -> None:
    image, labels, cells = discs(COLOURS)
    table = classify_cells(labels, cells, image, 50.0, classifier)
    assert table["class"].tolist() == NAMES
    assert set(table["class_by"]) == {"model"}
    probabilities = table[[f"p_{name}" for name in classifier.header.architecture.classes]]
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-4)
    assert (table["class_probability"] == [table[f"p_{name}"][i] for i, name in enumerate(NAMES)]).all()
    assert "class" not in cells, "the table given is left as it was"


def test_what_a_person_said_stays(classifier: ClassifierFile) -> None:
    image, labels, cells = discs(COLOURS)
    table = classify_cells(labels, each_named(cells, {2: "blast"}), image, 50.0, classifier)
    assert table["class"].tolist() == ["pink", "blast", "violet", "pink"]
    assert table["class_by"].tolist() == ["model", "person", "model", "model"]
    assert table["p_violet"].notna().all(), "the model's opinion is told beside it"


def test_labels_may_have_gaps_any_order_and_none_in_the_image(classifier: ClassifierFile) -> None:
    image, labels, cells = discs(COLOURS)
    numbers = np.array([0, 7, 3_000_000_000, 12, 5])
    table = cells.assign(label=numbers[1:])[::-1].reset_index(drop=True)
    table.loc[4, "label"] = 99  # a cell that was erased
    found = classify_cells(numbers[labels], table, image, 50.0, classifier)
    assert found["class"].tolist() == [*NAMES[::-1], ""]
    assert found["class_by"].tolist()[-1] == ""


def test_cells_of_a_stack_are_looked_at_in_their_plane(classifier: ClassifierFile) -> None:
    image, labels, cells = discs(COLOURS)
    stack = np.stack([image, image[:, ::-1]]), np.stack([labels * 0, np.where(labels == 1, 1, 0)])
    table = classify_cells(stack[1], cells[:1].assign(plane=1), stack[0], 50.0, classifier)
    assert table["class"].tolist() == ["pink"]


def test_cells_of_each_plane_of_a_stack_are_looked_at_at_their_own_size(classifier: ClassifierFile) -> None:
    image, labels, cells = discs(COLOURS)
    both = pd.concat([cells.assign(plane=0), cells.assign(plane=1)])
    stack = np.stack([labels] * 2), both, np.stack([image] * 2)
    found, _ = predict_labels(*stack, (40.0, 60.0), classifier)
    alone = [predict_labels(labels, cells, image, size, classifier)[0] for size in (40.0, 60.0)]
    np.testing.assert_array_equal(found, np.concatenate(alone))
    later, _ = predict_labels(*stack, (40.0,), classifier)
    np.testing.assert_array_equal(later[:4], alone[0], "of a plane that came later nothing is known")


def test_a_classifier_that_has_looked_at_cells_can_be_sent_to_a_worker(classifier: ClassifierFile) -> None:
    image, labels, cells = discs(COLOURS)
    expected, _ = predict_labels(labels, cells, image, 50.0, classifier)
    found, _ = predict_labels(labels, cells, image, 50.0, pickle.loads(pickle.dumps(classifier)))
    np.testing.assert_array_equal(found, expected)


def test_no_cell_is_an_empty_table_with_all_columns(classifier: ClassifierFile) -> None:
    image, labels, cells = discs(COLOURS)
    table = classify_cells(labels * 0, cells[:0], image, None, classifier)
    assert len(table) == 0
    assert {"class", "class_by", "p_violet"} <= set(table)


def test_a_size_that_is_not_known_is_that_of_the_cells_themselves(
    classifier: ClassifierFile,
) -> None:
    image, labels, cells = discs(COLOURS)
    known, _ = predict_labels(labels, cells, image, 50.0, classifier)
    estimated, _ = predict_labels(labels, cells, image, None, classifier)
    np.testing.assert_allclose(estimated, known, atol=0.05)


def test_cells_are_shown_in_the_size_in_which_a_classifier_knows_them(classifier: ClassifierFile) -> None:
    image, labels, cells = discs(COLOURS)
    header = classifier.header.model_copy(update={"diameter": classifier.header.diameter / 2})
    small = ClassifierFile.make(header, classifier.weights)
    found, _ = predict_labels(labels, cells, image, 50.0, small)
    expected, _ = predict_labels(labels, cells, image, 100.0, classifier)
    np.testing.assert_array_equal(found, expected)


def test_cells_that_are_looked_at_one_after_the_other_are_each_itself(
    classifier: ClassifierFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    image, labels, cells = discs(COLOURS)
    labels[:50][labels[:50] == 2] = 0  # half of one
    together, _ = predict_labels(labels, cells, image, 50.0, classifier)
    monkeypatch.setattr("napari_wbcseg.classification.classify._OFTEN", 1)
    found, _ = predict_labels(labels, cells, image, 50.0, classifier)
    np.testing.assert_allclose(found, together, atol=1e-4)


def test_what_is_no_image_is_refused(classifier: ClassifierFile) -> None:
    _, labels, cells = discs(COLOURS)
    with pytest.raises(ImageError):
        classify_cells(labels, cells, np.zeros(labels.shape, bool), 50.0, classifier)


def test_the_classes_that_a_classifier_tells_keep_their_colours(classifier: ClassifierFile) -> None:
    assert class_list(None) == BUILT_IN_CLASSES
    assert class_list(classifier)("pink") == CLASSES("pink")


def test_settings_say_what_tells_the_classes(tmp_path: Path, classifier: ClassifierFile) -> None:
    assert classifier_of(SegmentationSettings(classes=None)) is None
    assert classifier_of(SegmentationSettings()) is read_classifier()
    found = classifier_of(SegmentationSettings(classes=str(classifier.path)))
    assert found is not None
    assert found.id == classifier.id
    with pytest.raises(ModelError, match=r"classifier .* is not there"):
        classifier_of(SegmentationSettings(classes=str(tmp_path / "gone.safetensors")))


def test_segmenting_and_looking_again_say_the_same() -> None:
    drawn = synthetic_smear((360, 480), white_cells=5, seed=4)
    found = segment(drawn.image)
    again = classify_cells(found.labels, found.cells, drawn.image, found.class_diameter)
    assert found.classifier == read_classifier().id
    assert len(found.cells)
    # The outlines are the same; the light is divided out in one piece and not in tiles.
    same = (again["class"] == found.cells["class"]).mean()
    assert same >= 0.9
