"""The record of a run says all that a repetition needs."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from napari_wbcseg import SegmentationSettings
from napari_wbcseg.errors import SettingsError
from napari_wbcseg.results.load import settings_in
from napari_wbcseg.results.origins import ImageRecord, ModelRecord, file_sha256, library_versions
from napari_wbcseg.results.records import InputRecord, ResultRecord, RunRecord
from napari_wbcseg.segmentation.result import Segmentation


def record(**values: object) -> RunRecord:
    return RunRecord(
        created="2026-01-01T00:00:00+00:00",
        settings=SegmentationSettings(cell_diameter=80, flips=True),
        model=ModelRecord(name="wbc", hash="0123456789ab", source="wbc"),
        versions=library_versions(),
        **values,  # type: ignore[arg-type]
    )


def test_an_image_at_a_place_that_the_system_refuses_is_one_that_is_gone(tmp_path: Path) -> None:
    refused = tmp_path / ("x" * 300) / "a.png"  # as a folder that may not be entered, which root may
    with pytest.raises(OSError, match="too long"):
        refused.exists()
    assert ImageRecord(name="a", path=str(refused)).file(tmp_path) is None
    assert ImageRecord.of(refused, "a", tmp_path) == ImageRecord(name="a")


def test_an_image_on_no_drive_of_the_record_is_gone_where_names_end_in_no_space(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To Windows a name of a space in a folder is that folder."""
    monkeypatch.setattr(
        "napari_wbcseg.results.origins.exists", lambda path: os.path.exists(str(path).rstrip(" ") or "none")
    )
    assert ImageRecord(name="a").file(tmp_path) is None
    assert ImageRecord(name="a", path=str(tmp_path / "gone.png")).unchanged(tmp_path) is None


def test_a_file_of_the_same_size_and_date_is_another_image_still(tmp_path: Path) -> None:
    """As files of one size that were unpacked within one second."""
    for name in ("a", "b"):
        (tmp_path / name).write_text(name)
        os.utime(tmp_path / name, (1, 1))
    made = ImageRecord.of(tmp_path / "a", "a", tmp_path)
    assert (made.is_of(tmp_path / "a"), made.is_of(tmp_path / "b")) == (True, False)


def test_of_a_file_that_another_took_the_place_of_the_record_says_what_was_read(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_text("first")
    read = ImageRecord.of(file, "a", tmp_path).state
    file.write_text("another")
    made = ImageRecord.of(file, "a", tmp_path, state=read)
    assert (made.state, made.is_of(file)) == (read, False)


def test_a_result_is_of_a_run_that_asks_for_what_made_it(tmp_path: Path, result: Segmentation) -> None:
    assert result.settings is not None
    made = ResultRecord.of(replace(result, classifier="own@aaaa"), tmp_path)
    settings, version = result.settings, made.versions["napari-wbcseg"]
    asked = settings, "0123456789ab", "aaaa", version
    assert made.made_by(*asked)
    assert made.made_by(settings.replace(classes="elsewhere"), *asked[1:]), "the same classifier lies there"
    for place, other in enumerate((settings.replace(flips=False), "ffff", "bbbb", "0.0")):
        assert not made.made_by(*asked[:place], other, *asked[place + 1 :])
    assert not made.made_by(settings, "0123456789ab", None, version)
    corrected = made.model_copy(update={"edited": True})
    assert corrected.made_by(settings, "0123456789ab", "bbbb", version), "which was taught since"
    assert not corrected.made_by(settings.replace(classes="elsewhere"), "0123456789ab", "bbbb", version)


class TestRun:
    def test_a_record_says_all_that_a_repetition_needs(self, tmp_path: Path) -> None:
        image = tmp_path / "a.jpg"
        image.write_bytes(b"bytes")
        entry = InputRecord(
            path=str(image), image="a.jpg", name="a", sha256=file_sha256(image), count=3, status="ok"
        )
        written = record(inputs=[entry], formats=("mask",))
        back = RunRecord.read(written.write(tmp_path / "run.json"))
        assert back == written
        assert back.inputs[0].sha256 == "277089d91c0bdf4f2e6862ba7e4a07605119431f5d13f726dd352b06f1b206a9"
        assert {"python", "napari-wbcseg", "numpy", "onnxruntime"} <= set(back.versions)

    @pytest.mark.parametrize(
        ("flags", "formats"),
        [
            ({"mask": True, "overlay": True, "formats": ["csv"]}, ("mask", "overlay", "csv")),
            ({"mask": False, "overlay": False, "formats": ["overlay"]}, ("overlay",)),
            ({"mask": False}, ("overlay",)),
            ({"formats": []}, ()),
        ],
    )
    def test_an_earlier_version_named_the_pictures_apart(
        self, tmp_path: Path, flags: dict[str, object], formats: tuple[str, ...]
    ) -> None:
        made = json.loads(record().model_dump_json(exclude={"formats"}))
        (tmp_path / "run.json").write_text(json.dumps({**made, **flags}))
        assert RunRecord.read(tmp_path / "run.json").formats == formats

    def test_settings_are_read_from_a_run_or_from_settings(self, tmp_path: Path) -> None:
        wanted = SegmentationSettings(cell_diameter=80, flips=True)
        record().write(tmp_path / "run.json")
        (tmp_path / "settings.json").write_text(wanted.to_json())
        assert settings_in(tmp_path / "run.json")[0] == wanted
        assert settings_in(tmp_path / "settings.json")[0] == wanted

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ("{", "not valid JSON"),
            ('{"cell_diametre": 3}', "no setting named 'cell_diametre' \\(perhaps cell_diameter\\)"),
            ('{"cell_diameter": -3}', "greater than or equal to 6"),
            ('{"format": "napari-wbcseg run 99"}', "not the record of a run"),
            ("[1]", "names and values\\.$"),
            ("[" * 100_000, "not valid JSON"),
            ('{"cell_diameter":' * 100_000, "not valid JSON"),
            ('{"min_area": ' + "9" * 5000 + "}", "not valid JSON"),
            ('{"cell_diameter": 1e999}', "less than or equal to 2000"),
            ('{"min_area": "' + "9" * 10**6 + '"}', "min_area="),
            ('{"self": 1}', "no setting named 'self' \\(there are recipe, cell_diameter, "),
            ('{"format": "napari-wbcseg run 1", "inputs": ' + "[" * 100_000, "not the record of a run"),
        ],
    )
    def test_a_bad_settings_file_is_named_with_what_is_wrong(
        self, tmp_path: Path, content: str, message: str
    ) -> None:
        path = tmp_path / "bad.json"
        path.write_text(content)
        with pytest.raises(SettingsError, match=message) as caught:
            settings_in(path)
        assert str(path) in str(caught.value)
        assert len(str(caught.value)) < 500

    def test_a_file_name_in_place_of_a_text_is_a_sentence(self) -> None:
        with pytest.raises(SettingsError, match=r"x\.json is a file's name.* give Path\('x\.json'\)"):
            SegmentationSettings.from_json("x.json")

    def test_a_missing_or_foreign_record_is_a_sentence(self, tmp_path: Path) -> None:
        with pytest.raises(SettingsError, match="There is no file"):
            RunRecord.read(tmp_path / "run.json")
        (tmp_path / "x.json").write_text(json.dumps({"a": 1}))
        with pytest.raises(SettingsError, match="not the record of a run"):
            RunRecord.read(tmp_path / "x.json")
        (tmp_path / "y.json").write_bytes(b"\xff\xfe\x00")
        with pytest.raises(SettingsError, match=r"cannot be read as text.* Give the run\.json that"):
            RunRecord.read(tmp_path / "y.json")
