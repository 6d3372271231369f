"""What the manifest promises is there, and costs napari's start nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from npe2 import PluginManifest
from qtpy.QtWidgets import QWidget

import napari_wbcseg

FILE = Path(napari_wbcseg.__file__).parent / "napari.yaml"
MANIFEST = PluginManifest.from_file(FILE)
CONTRIBUTIONS = MANIFEST.contributions
HEAVY = ("keras", "tensorflow", "torch", "jax", "onnxruntime", "cv2", "skimage", "matplotlib.pyplot")


def test_the_manifest_is_valid():
    done = subprocess.run(
        [sys.executable, "-m", "npe2", "validate", str(FILE)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert MANIFEST.name == "napari-wbcseg"


def test_the_manifest_at_the_root_is_the_same_file():
    root = FILE.parents[2] / "napari.yaml"
    if not (FILE.parents[2] / "pyproject.toml").exists():
        pytest.skip("the package is not installed from a checkout")
    assert root.resolve() == FILE.resolve()


@pytest.mark.parametrize("command", CONTRIBUTIONS.commands, ids=lambda command: command.id)
def test_every_command_resolves(command):
    from npe2.manifest.utils import import_python_name

    assert callable(import_python_name(command.python_name))


def commands_of_the_palette():
    """Return the ids of our commands in napari's palette, where none is given an argument."""
    from napari._app_model import get_app_model

    app = get_app_model()
    listed = app.menus.get_menu(app.menus.COMMAND_PALETTE_ID)
    return {item.command.id for item in listed if item.command.id.startswith("napari-wbcseg.")}


def test_every_command_can_be_called_from_the_palette(viewer, monkeypatch, tmp_path):
    from napari._app_model import get_app_model
    from napari.utils.notifications import notification_manager
    from qtpy.QtWidgets import QFileDialog

    for ask in ("getOpenFileName", "getSaveFileName"):
        monkeypatch.setattr(QFileDialog, ask, lambda *_, **__: ("", ""))
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: "")
    samples_of_the_net = {"napari-wbcseg.sigtuple_field", "napari-wbcseg.sigtuple_tiles"}
    known = {command.id for command in CONTRIBUTIONS.commands}
    assert commands_of_the_palette() == known
    for command in sorted(known - samples_of_the_net):
        get_app_model().commands.execute_command(command).result()
    assert not [one for one in notification_manager.records if "TypeError" in one.message]


@pytest.mark.parametrize(
    ("command", "menu"), [("write_csv", "File ▸ Save Selected Layers"), ("read", "File ▸ Open File(s)")]
)
def test_the_palette_says_where_a_file_is_chosen(viewer, command, menu):
    from napari._app_model import get_app_model
    from napari.utils.notifications import notification_manager

    get_app_model().commands.execute_command(f"napari-wbcseg.{command}").result()
    assert menu in notification_manager.records[-1].message


def test_every_contribution_names_a_command_and_every_command_is_used():
    known = {command.id for command in CONTRIBUTIONS.commands}
    used = {
        item.command
        for items in (
            CONTRIBUTIONS.readers,
            CONTRIBUTIONS.writers,
            CONTRIBUTIONS.widgets,
            CONTRIBUTIONS.sample_data,
        )
        for item in items
    }
    in_menus = {item.command for items in CONTRIBUTIONS.menus.values() for item in items}
    assert used | in_menus == known


def test_every_menu_is_one_that_napari_lets_plugins_fill():
    from napari._app_model.constants import MenuId

    assert set(CONTRIBUTIONS.menus) <= {str(menu) for menu in MenuId.contributables()}


def test_the_menus_show_both_widgets(viewer):
    from napari._app_model import get_app_model

    titles = {"Segment white blood cells", "Train WBC model"}
    layers = get_app_model().menus.get_menu("napari/layers/segment")
    shown = {item.command.title for item in layers if hasattr(item, "command")}
    assert titles <= {title.split(" (")[0] for title in shown}


@pytest.mark.parametrize("widget", CONTRIBUTIONS.widgets, ids=lambda widget: widget.display_name)
def test_every_widget_opens_from_its_name(viewer, widget):
    _, inner = viewer.window.add_plugin_dock_widget("napari-wbcseg", widget.display_name)
    assert isinstance(inner, QWidget)


def test_the_preferences_are_those_the_widgets_read(viewer):
    from napari_wbcseg.plugin.shared.preferences import DEFAULTS, preference

    declared = CONTRIBUTIONS.configurations["segmentation"].properties
    assert {name: item.default for name, item in declared.items()} == DEFAULTS
    assert {name: preference(name) for name in DEFAULTS} == DEFAULTS


def test_the_preferences_stand_where_the_guide_says(viewer, qtbot):
    from napari._qt.dialogs.preferences_dialog import PreferencesDialog

    dialog = PreferencesDialog()
    qtbot.addWidget(dialog)
    pages = [dialog._list.item(row).text() for row in range(dialog._list.count())]
    assert "White blood cells" in pages[pages.index("----Plugin Preferences----") :]


def _ask(code: str, **environment: str) -> dict:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_importing_the_package_brings_nothing_heavy():
    told = _ask(
        f"""
        import json, sys
        import napari_wbcseg
        heavy = [name for name in {(*HEAVY, "pandas", "napari", "qtpy", "scipy")!r} if name in sys.modules]
        print(json.dumps(heavy))
        """
    )
    assert told == []


def test_the_panels_that_train_bring_nothing_of_those_that_show_cells():
    told = _ask(
        """
        import json, sys
        import napari_wbcseg.plugin.models.widget, napari_wbcseg.plugin.train.widget
        shared = "napari_wbcseg.plugin.shared."
        of_cells = ("unsaved", "counts", "file_layers", "saving")
        print(json.dumps([name for name in of_cells if shared + name in sys.modules]))
        """
    )
    assert told == []


@pytest.mark.slow
def test_opening_napari_with_the_plugin_brings_nothing_heavy(record_property, tmp_path):
    """Open a viewer with and without the plugin; what the plugin adds is its manifest."""
    code = """
        import json, sys, time
        import napari
        from napari.settings import get_settings
        from npe2 import PluginManager
        get_settings().plugins.disabled_plugins = set() if {enabled} else {{"napari-wbcseg"}}
        start = time.perf_counter()
        viewer = napari.Viewer(show=False)
        seconds = time.perf_counter() - start
        manager = PluginManager.instance()
        known = "napari-wbcseg" in manager and not manager.is_disabled("napari-wbcseg")
        start = time.perf_counter()
        from npe2 import PluginManifest
        PluginManifest.from_file({file!r})
        manifest = time.perf_counter() - start
        ours = [name for name in sys.modules if name.startswith("napari_wbcseg.")]
        heavy = [name for name in {heavy!r} if name in sys.modules]
        viewer.close()
        print(json.dumps({{"ms": 1000 * seconds, "manifest_ms": 1000 * manifest, "known": known,
                           "ours": ours, "heavy": heavy}}))
        """
    code = textwrap.dedent(code)
    own = {"NAPARI_CONFIG": str(tmp_path / "settings.yaml")}
    with_plugin = _ask(code.format(enabled=True, heavy=HEAVY, file=str(FILE)), **own)
    without = _ask(code.format(enabled=False, heavy=HEAVY, file=str(FILE)), **own)
    record_property(
        "measured",
        f"napari.Viewer(): {with_plugin['ms']:.0f} ms with the plugin, {without['ms']:.0f} ms without; "
        f"its manifest takes {with_plugin['manifest_ms']:.1f} ms",
    )
    assert with_plugin["known"]
    assert not without["known"]
    assert with_plugin["ours"] == []
    assert with_plugin["heavy"] == without["heavy"], "napari itself brings some"
    assert not {"keras", "tensorflow", "onnxruntime"} & set(with_plugin["heavy"])
