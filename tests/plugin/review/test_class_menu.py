"""The user's own list of classes: added, renamed and coloured in the gallery, saved with the result."""

from __future__ import annotations

from napari_wbcseg.results.load import load_result
from napari_wbcseg.results.save import save

from .test_gallery import FIRST, SECOND, THIRD, groups, said, widget  # noqa: F401


def test_a_class_of_ones_own_is_named_and_saved_with_the_result(widget, tmp_path):  # noqa: F811
    widget.gallery.class_menu.add("smudge cell")
    widget.select([FIRST])
    widget.name("smudge cell")
    assert groups(widget)["smudge cell"] == [1]
    widget.gallery.class_menu.change("smudge cell", colour="#123456", white_cell=False)
    assert widget.review.summary() == "2 white cells, 1 to check"
    widget.review.write_features()
    save(widget.labels, tmp_path / "one-labels.tif")
    found = load_result(tmp_path / "one-labels.tif")
    assert found.classes("smudge cell").colour == "#123456"
    assert (found.white_cells, found.classes) == (2, widget.review.classes)


def test_cells_go_with_their_class_when_it_is_renamed(widget):  # noqa: F811
    widget.select([SECOND])
    widget.name("neutrophil")
    widget.gallery.class_menu.change("neutrophil", name="granulocyte")
    assert groups(widget) == {"granulocyte": [1, 2], "lymphocyte": [3]}
    assert said(widget, 1) == ("granulocyte", "model")
    assert said(widget, 2) == ("granulocyte", "person")
    assert widget.review.classes("band neutrophil").part_of == "granulocyte"


def test_two_classes_of_one_name_are_refused_in_words(widget):  # noqa: F811
    widget.gallery.class_menu.change("monocyte", name="basophil")
    assert "Two classes have the name 'basophil'" in widget.panel.message.text()
    assert "monocyte" in widget.review.classes.names


def test_the_menu_of_a_title_says_whether_a_class_is_counted(widget):  # noqa: F811
    offered = {action.text(): action for action in widget.gallery.class_menu.menu("lymphocyte").actions()}
    assert list(offered) == ["New class …", "Rename lymphocyte …", "Colour …", "Counted as white cell"]
    widget.select([THIRD])
    offered["Counted as white cell"].setChecked(False)
    assert widget.review.summary() == "2 white cells, 1 to check"
