"""Who says what a cell is."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from napari_wbcseg.classification.classes import BUILT_IN_CLASSES, CellClass
from napari_wbcseg.classification.naming import called, each_named, said_by_model

CELLS = pd.DataFrame({"label": [1, 2, 3]})


def probabilities(*rows: tuple[float, ...]) -> pd.DataFrame:
    names = ["band neutrophil", "segmented neutrophil", "lymphocyte", "erythroblast"]
    return pd.DataFrame(list(rows), columns=names)


SURE = probabilities((0.02, 0.9, 0.05, 0.03), (0, 0.1, 0.8, 0.1), (0, 0, 0.1, 0.9))


@pytest.mark.parametrize(
    ("row", "name", "certainty"),
    [
        ((0.02, 0.9, 0.05, 0.03), "segmented neutrophil", 0.92),
        ((0.3, 0.4, 0.3, 0.0), "neutrophil", 0.7),
        ((0.0, 0.1, 0.7, 0.2), "lymphocyte", 0.7),
        ((0.1, 0.1, 0.4, 0.4), "unsure", 0.4),
        ((np.nan,) * 4, "", np.nan),
    ],
)
def test_a_cell_is_called_by_what_is_sure(row: tuple[float, ...], name: str, certainty: float) -> None:
    names, found = called(probabilities(row))
    assert names.tolist() == [name]
    np.testing.assert_allclose(found, [certainty])


def test_a_model_says_class_probability_and_that_it_was_the_model() -> None:
    table = said_by_model(CELLS, SURE)
    assert table["class"].tolist() == ["segmented neutrophil", "lymphocyte", "erythroblast"]
    assert table["class_by"].tolist() == ["model"] * 3
    assert table["p_lymphocyte"].tolist() == [0.05, 0.8, 0.1]


def test_no_model_overwrites_what_a_person_said() -> None:
    table = each_named(said_by_model(CELLS, SURE), {2: "blast"})
    again = said_by_model(table, SURE[["lymphocyte", "erythroblast"]])
    row = again.set_index("label").loc[2]
    assert (row["class"], row["class_by"], row["class_probability"]) == ("blast", "person", 1.0)
    assert row["p_lymphocyte"] == 0.8, "what the model holds is told all the same"
    assert "p_band neutrophil" not in again, "of the earlier model"


def test_what_a_person_took_back_is_as_the_model_has_it() -> None:
    said = said_by_model(CELLS, SURE)
    pd.testing.assert_frame_equal(
        each_named(each_named(said, {2: "blast", 3: "blast"}), {2: "", 3: ""}), said
    )
    assert each_named(each_named(CELLS, {1: "blast"}), {1: ""})["class"].tolist() == ["", "", ""]


def test_what_was_taken_back_is_called_by_the_classes_that_there_are() -> None:
    own = BUILT_IN_CLASSES.added(CellClass("erythroblast", "#a0522d", part_of="lymphocyte"))
    said = said_by_model(CELLS, probabilities(*[(0.3, 0.1, 0.3, 0.3)] * 3), own)
    assert said["class"].tolist() == ["lymphocyte"] * 3, "of which erythroblasts are a part here"
    pd.testing.assert_frame_equal(each_named(each_named(said, {2: "blast"}), {2: ""}, own), said)


def test_cells_are_named_by_label_or_by_row() -> None:
    by_row = pd.Series([None, "blast", None])
    pd.testing.assert_frame_equal(each_named(CELLS, by_row), each_named(CELLS, {2: "blast"}))


def test_what_may_be_a_platelet_is_unsure_and_counts() -> None:
    chances = pd.DataFrame({"lymphocyte": [0.05, 0.005], "platelet": [0.95, 0.995]})
    assert called(chances)[0].tolist() == ["unsure", "platelet"]
    renamed = chances.rename(columns={"platelet": "thrombocyte"})
    own = BUILT_IN_CLASSES.changed("platelet", name="thrombocyte")
    assert called(renamed, own)[0].tolist() == ["unsure", "thrombocyte"]


def test_a_column_is_called_by_its_name_also_where_no_class_could_have_it() -> None:
    chances = pd.DataFrame({"lymphocyte": [0.1], "of another program, " * 4: [0.9]})
    assert called(chances)[0].tolist() == ["of another program, " * 4]
