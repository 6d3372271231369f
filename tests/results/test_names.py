"""Names of files never collide."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from ome_zarr import writer
from ome_zarr.format import FormatV04

from napari_wbcseg import save
from napari_wbcseg.batch.run import collect
from napari_wbcseg.results.names import image_names, is_output, output_names

from .conftest import Layer


class TestNames:
    def test_a_name_is_the_stem_where_that_is_enough(self) -> None:
        assert output_names([Path("x/a.jpg"), Path("y/b.tif")]) == {
            Path("x/a.jpg"): "a",
            Path("y/b.tif"): "b",
        }

    def test_equal_stems_take_as_many_folders_as_tell_them_apart(self) -> None:
        paths = [Path("/s/1/a.jpg"), Path("/s/2/a.jpg"), Path("/s/b.jpg"), Path("/t/9/2/a.jpg")]
        assert list(output_names(paths).values()) == ["1__a", "s__2__a", "b", "9__2__a"]

    def test_equal_stems_in_one_folder_take_their_ending(self) -> None:
        assert list(output_names([Path("/s/a.jpg"), Path("/s/a.png")]).values()) == ["a_jpg", "a_png"]

    def test_what_windows_allows_in_no_name_is_left_out(self) -> None:
        assert list(output_names([Path('/s/12:30 "x|y"?.png'), Path("/s/b.ome.tif")]).values()) == [
            "12-30 -x-y--",
            "b",
        ]

    def test_capitals_do_not_tell_files_apart_as_not_every_disk_does(self) -> None:
        names = output_names([Path("/x/A.jpg"), Path("/y/a.jpg")])
        assert len({name.casefold() for name in names.values()}) == 2

    def test_accents_do_not_tell_files_apart_by_how_they_are_coded(self) -> None:
        names = output_names([Path("/x/Z\u00fcrich.jpg"), Path("/y/Zu\u0308rich.jpg")])
        assert [name[0] for name in names.values()] == ["x", "y"]

    def test_long_names_leave_room_for_what_is_put_behind_them(self) -> None:
        names = output_names([Path("/x", "é" * 120 + end) for end in ("1.png", "2.png", "1.jpg")])
        assert all(len(name.encode()) <= 200 for name in names.values())
        assert len(set(names.values())) == 3

    def test_names_that_are_taken_get_folders_then_the_ending_and_then_numbers(self) -> None:
        path, taken = Path("/day 1/raw/a.png"), set()

        def free(path: Path, name: str) -> bool:
            return name not in taken

        for _ in range(7):
            taken |= set(output_names([path], {path: "mine"}, free).values())
        assert {"mine", "a", "raw__a", "day 1__raw__a", "a_png"} < taken
        assert len(taken) == 7

    def test_who_had_a_name_keeps_it(self) -> None:
        old, new = Path("/x/a.png"), Path("/y/a.png")

        def free(path: Path, name: str) -> bool:
            return path == old or name != "a"

        assert output_names([new, old], {old: "a"}, free) == {new: "y__a", old: "a"}

    folder = st.lists(st.sampled_from(["a", "b", "a__b", "A"]), max_size=3)
    stem = st.sampled_from(["a", "b", "A", "a__b", "a_jpg", "a-2", "b__a"])
    path = st.builds(
        lambda parts, stem, suffix: Path("/", *parts, stem + suffix),
        folder,
        stem,
        st.sampled_from([".jpg", ".png"]),
    )

    @settings(deadline=None)
    @given(st.lists(path, max_size=12, unique=True), st.randoms())
    def test_no_two_inputs_ever_share_a_name(self, paths: list[Path], random: object) -> None:
        names = output_names(paths)
        assert set(names) == set(paths)
        assert len({name.casefold() for name in names.values()}) == len(paths)
        assert all("/" not in name and name for name in names.values())
        shuffled = list(paths)
        random.shuffle(shuffled)  # type: ignore[attr-defined]
        assert output_names(shuffled) == names

    def test_tables_call_images_by_their_path_below_what_they_share(self) -> None:
        assert list(image_names([Path("/s/1/a.jpg"), Path("/s/b.jpg")]).values()) == ["1/a.jpg", "b.jpg"]
        assert list(image_names([Path("/s/1/a.jpg")]).values()) == ["a.jpg"]
        assert image_names([]) == {}


@pytest.mark.parametrize("beside", ["a.JPG", "a.tif", "a-result.json", "a-labels.tif"])
@pytest.mark.parametrize("overlay", ["a-overlay.png", "a-plane-01-overlay.png"])
def test_a_picture_of_a_result_is_told_by_what_lies_beside(tmp_path: Path, beside: str, overlay: str) -> None:
    assert not is_output(tmp_path / overlay), "the user's own, whatever its name"
    (tmp_path / beside).touch()
    assert is_output(tmp_path / overlay)
    assert not is_output(tmp_path / beside.replace("a", "b", 1))


def test_an_ome_zarr_of_another_program_is_an_image_though_its_labels_are_called_cells(
    tmp_path: Path,
) -> None:
    images, labels = np.zeros((40, 40), np.uint8), np.zeros((40, 40), np.int32)
    labels[10:20, 10:20] = 1
    root = zarr.open_group(str(tmp_path / "theirs.ome.zarr"), mode="w", zarr_format=2)
    writer.write_image(images, root, axes="yx", fmt=FormatV04())
    writer.write_labels(labels, root, name="cells", axes="yx", fmt=FormatV04())
    (ours,) = save(Layer(labels), tmp_path / "ours.ome.zarr", image=images)
    assert [is_output(tmp_path / "theirs.ome.zarr"), is_output(ours)] == [False, True]
    assert [item.path.name for item in collect([tmp_path])] == ["theirs.ome.zarr"]
