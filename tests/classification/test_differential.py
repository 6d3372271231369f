"""The differential, and how sure it is."""

from __future__ import annotations

import math
from dataclasses import replace

import pandas as pd
import pytest

from napari_wbcseg.classification.classes import BUILT_IN_CLASSES, CellClass, ClassList
from napari_wbcseg.classification.differential import differential, more_to_halve, pooled, wilson_interval

#: 95 % limits for a percentage seen among 100, 200, 500 and 1000 cells (Rümke, Blood Cells 11, 1985).
RUMKE = {
    0: ((0, 4), (0, 2), (0, 1), (0, 1)),
    1: ((0, 6), (0, 4), (0, 3), (0, 2)),
    2: ((0, 8), (0, 6), (0, 4), (1, 4)),
    5: ((1, 12), (2, 10), (3, 8), (3, 7)),
    10: ((4, 18), (6, 16), (7, 13), (8, 13)),
    20: ((12, 30), (14, 27), (16, 24), (17, 23)),
    30: ((21, 40), (23, 37), (26, 35), (27, 33)),
    50: ((39, 61), (42, 58), (45, 55), (46, 54)),
}


def table(**counts: int) -> pd.DataFrame:
    names = [name.replace("_", " ") for name, count in counts.items() for _ in range(count)]
    return pd.DataFrame({"class": names})


@pytest.mark.parametrize("percent", RUMKE)
def test_the_textbooks_table_comes_out(percent: int) -> None:
    for total, limits in zip((100, 200, 500, 1000), RUMKE[percent], strict=True):
        found = wilson_interval(percent * total // 100, total)
        # The textbook's are Clopper's and Pearson's, which are a little wider; both rounded outwards.
        rounded = math.floor(100 * found[0]), math.ceil(100 * found[1])
        assert rounded == pytest.approx(limits, abs=1), total


def test_the_interval_is_wilsons() -> None:
    assert wilson_interval(15, 100) == pytest.approx((0.0931, 0.2328), abs=1e-4)
    assert all(math.isnan(limit) for limit in wilson_interval(0, 0))


@pytest.mark.parametrize(("count", "total"), [(0, 50), (10, 100), (100, 200), (200, 200)])
def test_so_many_more_cells_halve_the_interval_and_one_fewer_do_not(count: int, total: int) -> None:
    def width(cells: float) -> float:
        low, high = wilson_interval(count * cells / total, cells)  # type: ignore[arg-type]
        return high - low

    more = more_to_halve(count, total)
    assert width(total + more) <= width(total) / 2 < width(total + more - 1)


def test_white_cells_make_up_the_whole_and_erythroblasts_are_told_beside_them() -> None:
    cells = table(lymphocyte=30, segmented_neutrophil=50, band_neutrophil=5, neutrophil=15, erythroblast=3)
    found = differential(pd.concat([cells, table(platelet=7)]))
    by_name = {share.name: share for share in found.shares}
    assert found.white_cells == 100
    assert by_name["neutrophil"].count == 70, "with bands and segmented ones"
    assert (by_name["band neutrophil"].percent, by_name["band neutrophil"].part_of) == (5, "neutrophil")
    assert sum(share.percent for share in found.shares if not share.part_of) == pytest.approx(100)
    assert found.others == {"erythroblast": 3, "platelet": 7}
    assert found.per_100("erythroblast") == 3
    assert found.summary == "100 white cells, and 3 erythroblasts per 100"
    assert found.more_to_halve == by_name["segmented neutrophil"].more_to_halve, "whose interval is widest"
    written = found.table().set_index("class")
    assert written.index.tolist() == [*by_name, "erythroblast", "platelet"]
    assert written.loc["platelet", ["count", "percent"]].tolist() == [7, 7]
    assert written.loc["platelet", ["low", "high", "more_to_halve"]].isna().all()


def test_renamed_erythroblasts_are_counted_as_such() -> None:
    own = BUILT_IN_CLASSES.changed("erythroblast", name="normoblast").changed("normoblast", name="NRBC")
    found = pooled([(table(lymphocyte=50, NRBC=1), own), (table(erythroblast=2), BUILT_IN_CLASSES)])
    assert (found.white_cells, found.erythroblasts) == (50, 3)
    assert found.summary == "50 white cells, and 6 erythroblasts per 100"


def test_what_is_surely_more_frequent_than_in_ordinary_blood_is_told() -> None:
    ordinary = table(neutrophil=57, lymphocyte=45, monocyte=8, eosinophil=4, basophil=1)
    assert differential(ordinary).unusual == ""
    blasts = differential(table(lymphocyte=26, monocyte=1, unsure=3)).unusual  # as blasts are called
    assert blasts.startswith("Unlike ordinary blood: lymphocyte 86.7 % (at most 45 there).")
    assert "knows no blasts" in blasts
    of_a_part = differential(table(segmented_neutrophil=60, band_neutrophil=4, lymphocyte=2))
    assert "neutrophil 97.0 % (at most 75 there)" in of_a_part.unusual


def test_a_share_above_the_highest_does_not_read_like_it() -> None:
    many = differential(table(neutrophil=6_780, lymphocyte=3_000, basophil=250))  # 2.2 to 2.8 %
    assert "basophil 2.5 % (at most 2 there)" in many.unusual


@pytest.mark.parametrize(
    "few", [{"lymphocyte": 4}, {"eosinophil": 1, "neutrophil": 3}, {"lymphocyte": 6, "neutrophil": 6}]
)
def test_few_cells_are_not_called_unusual(few: dict[str, int]) -> None:
    assert differential(table(**few)).unusual == ""


def test_cells_without_a_class_are_unsure_and_own_classes_are_counted() -> None:
    own = BUILT_IN_CLASSES.added(CellClass("smudge cell", "#ffffff", white_cell=False))
    cells = pd.DataFrame({"class": ["", None, "blast", "smudge cell"]})
    found = differential(cells, own)
    assert {share.name: share.count for share in found.shares if share.count} == {"unsure": 2, "blast": 1}
    assert found.others["smudge cell"] == 1


def test_of_cells_without_a_class_no_class_is_told() -> None:
    assert not differential(table(unsure=3)).told
    assert differential(table(unsure=3, lymphocyte=1)).told
    assert differential(table(unsure=3, platelet=1)).told


def test_of_nothing_nothing_is_said() -> None:
    found = differential(table())
    assert (found.white_cells, found.more_to_halve, found.summary) == (0, 0, "0 white cells")
    assert all(math.isnan(share.percent) for share in found.shares)


def test_several_pictures_are_counted_together_each_with_its_own_classes() -> None:
    other = BUILT_IN_CLASSES.added(CellClass("smudge", "#112233", white_cell=False))
    found = pooled([(table(lymphocyte=3), BUILT_IN_CLASSES), (table(lymphocyte=1, smudge=2), other)])
    assert (found.white_cells, found.others["smudge"]) == (4, 2)


def test_each_picture_says_itself_which_of_its_cells_are_white_cells() -> None:
    white = BUILT_IN_CLASSES.added(CellClass("blast", "#112233"))
    beside = BUILT_IN_CLASSES.added(CellClass("blast", "#112233", white_cell=False))
    pictures = [(table(lymphocyte=3, blast=2), white), (table(lymphocyte=1, blast=5), beside)]
    for given in (pictures, pictures[::-1]):
        found = pooled(given)
        assert found.white_cells == sum(differential(*one).white_cells for one in given) == 6
        assert {share.name: share.count for share in found.shares if share.count} == {
            "lymphocyte": 4,
            "blast": 2,
        }
        assert found.others["blast"] == 5


@pytest.mark.parametrize("name", ["neutrophil", "band neutrophil", "unsure", "erythroblast"])
def test_a_part_that_is_no_white_cell_is_none_and_cells_without_a_class_are_unsure(name) -> None:
    changed = ClassList(
        replace(one, white_cell=not one.white_cell) if one.name == name else one for one in BUILT_IN_CLASSES
    )
    cells = table(**{"neutrophil": 3, "band neutrophil": 2, "erythroblast": 4, "": 5})
    found = differential(cells, changed)
    assert sum(share.count for share in found.shares if not share.part_of) == found.white_cells
    assert found.white_cells == {"neutrophil": 7, "band neutrophil": 8, "unsure": 5, "erythroblast": 14}[name]
