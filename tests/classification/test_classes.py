"""The classes of cells, and the columns that say them."""

from __future__ import annotations

import pandas as pd
import pytest

from napari_wbcseg.classification.classes import BUILT_IN_CLASSES, CellClass, ClassList, class_of
from napari_wbcseg.classification.differential import differential
from napari_wbcseg.errors import SettingsError


def test_erythroblasts_and_platelets_are_no_white_cells() -> None:
    assert BUILT_IN_CLASSES.not_white == {"erythroblast", "platelet"}


def test_bands_are_counted_with_the_neutrophils() -> None:
    assert BUILT_IN_CLASSES.parts("neutrophil") == ("neutrophil", "band neutrophil", "segmented neutrophil")
    assert BUILT_IN_CLASSES.parts("monocyte") == ("monocyte",)


def test_a_list_is_written_and_read() -> None:
    own = BUILT_IN_CLASSES.added(CellClass("blast", "#ff00ff"), CellClass("monocyte", "#000001"))
    assert own("monocyte").colour == "#000001"
    assert own.names == (*BUILT_IN_CLASSES.names, "blast")
    assert ClassList.from_list(own.to_list()) == own


def test_names_that_a_list_lacks_become_white_cells_of_it() -> None:
    own = BUILT_IN_CLASSES.covering(["smudge cell", "monocyte", "", "blast"])
    assert own.names[-2:] == ("smudge cell", "blast")
    assert own("blast").white_cell
    one_more = own.covering(["hairy cell"])
    assert len({one_more(name).colour for name in ("blast", "smudge cell", "hairy cell")}) == 3
    many = one_more.covering(map(str, range(9))).covering(["10"])
    assert "10" in many.names, "when all colours are taken they are given once more"


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ([{"name": "a", "colour": "red"}], "colour"),
        ([{"name": "", "colour": "#000000"}], "name"),
        ([{"name": "a", "colour": "#000000"}] * 2, "Two classes"),
        ([{"name": "a", "colour": "#000000", "part_of": "b"}], "part of 'b'"),
        (
            [{"name": pair[0], "colour": "#000000", "part_of": pair[1:]} for pair in ("a", "ba", "cb")],
            "'c' is part of 'b', which is no class of its own",
        ),
        ({"name": "a"}, "list"),
    ],
)
def test_a_list_that_cannot_be_used_is_refused_with_a_sentence(values: object, told: str) -> None:
    with pytest.raises(SettingsError, match=told):
        ClassList.from_list(values)


def test_tables_of_earlier_versions_tell_erythroblasts() -> None:
    table = pd.DataFrame({"label": [1, 2], "kind": ["white cell", "erythroblast"]})
    assert class_of(table).tolist() == ["", "erythroblast"]
    assert class_of(table[["label"]]).tolist() == ["", ""]


def test_what_no_class_can_be_called_is_told_as_one_can() -> None:
    """The count of such a table raised an error, and with it its line in Python and that of its folder."""
    table = pd.DataFrame({"class": [" monocyte ", "mono\ncyte", "m" * 300, None, 5, " "]})
    assert class_of(table).tolist() == ["monocyte", "mono cyte", "m" * 60, "", "5", ""]
    assert differential(table).white_cells == 6
