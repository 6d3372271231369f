"""The widget *Segment white blood cells*."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import napari
from napari.layers import Image, Labels, Shapes
from qtpy.QtCore import Signal
from superqt.utils import signals_blocked

from ...errors import ImageError, WBCSegError
from ...segmentation.result import Segmentation, passing_folder
from ...settings import SegmentationSettings
from ...words import listed
from ..controls.basic_widgets import confirmed
from ..controls.panel import Panel, held_by_part, open_review_on
from ..controls.window import WindowGuard
from ..shared.counts import counts_of
from ..shared.layers import ResultLayers, is_corrected
from ..shared.metadata import LayerInfo, is_cells
from ..shared.unsaved import keep_unsaved
from ..shared.viewer import image_data, own_viewer, placement, plane_events, plane_shape, plane_shown
from .colours import ColourOffer, colour_offer
from .diameter_circle import DiameterCircle
from .layer_part import check_part, choose_part, is_slide
from .panel import SegmentPanel, ask_to_keep
from .run import SegmentRun


class SegmentWidget(Panel):
    """Finds the white cells of an image layer and adds them as layers.

    The same from a script: set ``image``, ``model``, ``settings`` and, for a part of the image,
    ``regions`` and ``only_plane_shown``; call `run`, and connect to ``segmented``.

    Parameters
    ----------
    napari_viewer : napari.Viewer
        The viewer whose layers are offered.

    Attributes
    ----------
    segmentation : Segmentation or None
        The last result.
    panel : SegmentPanel
        What is seen of it.
    """

    #: Emitted with the `Segmentation` and its `ResultLayers` once they are in the viewer; of a result
    #: too large for memory only the cells are one.
    segmented = Signal(object, object)
    #: Emitted when a run was cancelled.
    cancelled = Signal()

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self._viewer = own_viewer(napari_viewer)
        self._offer: ColourOffer | None = None
        self.segmentation: Segmentation | None = None
        self.panel = SegmentPanel(self, self._viewer)
        self._circle = DiameterCircle(self._viewer, self.panel.method.diameter.set)
        self._counts = counts_of(self._viewer)
        self._run = SegmentRun(self._viewer, self, lambda: self.image)
        self._let_go = False
        self._guard = WindowGuard(self, {}, lambda: bool(self._at_stake()), self._ask_to_close)
        self._connect()
        self._on_image()

    # For scripts -----------------------------------------------------------------------------------------

    image: Image | None = held_by_part("panel.picker.value", "The image layer to segment.", settable=True)
    regions: Shapes | None = held_by_part(
        "panel.regions.value",
        "The Shapes layer in whose rectangles, ellipses and polygons cells are looked for; None for all.",
        settable=True,
    )

    @property
    def only_plane_shown(self) -> bool:
        """Whether only the plane shown of a stack is segmented."""
        return self.panel.planes.currentIndex() == 1

    @only_plane_shown.setter
    def only_plane_shown(self, only: bool) -> None:
        self.panel.planes.setCurrentIndex(int(only))

    model: str = held_by_part("panel.method.models.name", "Name of the model.", settable=True)

    @property
    def settings(self) -> SegmentationSettings:
        """The settings shown."""
        return self.panel.method.settings

    @settings.setter
    def settings(self, settings: SegmentationSettings) -> None:
        self._circle.hide()
        with signals_blocked(self.panel.method.diameter):
            self.panel.method.set_values(settings)

    running: bool = held_by_part("_run.running", "Whether a segmentation is under way.")

    def run(self, keep_earlier: bool | None = None) -> None:
        """Start segmenting what is chosen; returns at once.

        Does nothing while a run is under way. If the layer cannot be segmented, `failed` is emitted.

        Parameters
        ----------
        keep_earlier : bool, optional
            Whether the cells of the run before stay as a layer of their own; by default they do where
            they were corrected by hand, before the run or while it was under way.
        """
        if self.running:
            return
        self._circle.hide()
        self._let_go = False
        layer: Any = self.image  # there may be none, which is refused
        shown = None
        if self.only_plane_shown and layer is not None:
            shown = plane_shown(layer, self._viewer.dims.point)
        try:
            part = choose_part(layer, shown, self.regions)
        except WBCSegError as error:
            self.fail(str(error))
            return
        self._run.start(layer, part, self.model, self.settings, keep_earlier)
        self.say("")
        self._on_progress(0, 0, "Starting")
        self._refresh()

    def cancel(self) -> None:
        """Stop the run; the layers stay as they are."""
        if self._run.can_be_cancelled:
            self.panel.cancel.setEnabled(False)
            self.panel.show_status("Cancelling …")
            self._run.cancel()

    def draw_region(self) -> Shapes:
        """Add a layer to draw rectangles in, on the image, and choose it as the regions."""
        layer = self.image
        regions: Shapes = self._viewer.add_shapes(
            None,
            ndim=2,
            name="region",
            edge_color="#00e5ff",
            edge_width=max(1.0, 0.002 * max(image_data(layer).shape)) if layer is not None else 1.0,
            face_color="transparent",
            **placement(layer, 2),
        )
        regions.mode = "add_rectangle"
        self.regions = regions
        return regions

    def review(self) -> Any:
        """Open the Review widget on the cells of the image, and return it."""
        return open_review_on(self._viewer, self.panel.cells())

    def _run_by_hand(self) -> None:
        """Run; what was corrected by hand is not thrown away without being asked for."""
        image, cells, keep = self.image, self._replaced(), None
        if not self.running and cells is not None and is_corrected(cells):
            keep = ask_to_keep(self, cells.name)
            if keep is None or self.image is not image:  # another was opened meanwhile
                return
        self.run(keep)

    def _replaced(self) -> Labels | None:
        """Return the cells in place of which a run puts others: none where a region becomes a picture."""
        image = self.image
        of_slide = image is not None and self.regions is not None and is_slide(plane_shape(image))
        return None if of_slide else self.panel.cells()

    def _at_stake(self) -> str:
        """Return which work of hours goes with napari; of cells that a session saves, that asks itself."""
        if self._let_go:
            return ""
        if self._run.under_way:
            return f"{self._run.under_way} is being segmented, and that begins anew once napari was closed."
        lost = [layer.name for layer in self._passing()]
        return f"Not saved, and gone with napari: {listed(lost)}." if lost else ""

    def _passing(self) -> list[Labels]:
        """Return the layers whose cells are on disk until napari is closed, and nobody let go of."""
        kept, cells = keep_unsaved(self._viewer), filter(is_cells, self._viewer.layers)
        passing = [layer for layer in cells if passing_folder(image_data(layer))]
        return [one for one in passing if LayerInfo.of(one).record is None and not kept.was_saved(one)]

    def _leave_window(self) -> None:
        if self._passing():  # for hours perhaps, in which the panel was in the way
            self._guard.stay()
        else:
            self._guard.leave()

    def _ask_to_close(self, close: Callable[[], object]) -> None:
        question = f"{self._at_stake()} Close it all the same?"
        if confirmed(self._guard.window or self, "Close napari?", question):
            self._let_go = True
            for layer in self._passing():  # another panel need not ask again
                keep_unsaved(self._viewer).saved(layer)
            close()

    # Parts -----------------------------------------------------------------------------------------------

    def _connect(self) -> None:
        panel = self.panel
        panel.run.clicked.connect(self._run_by_hand)
        panel.cancel.clicked.connect(self.cancel)
        panel.draw.clicked.connect(self.draw_region)
        panel.join.clicked.connect(self._join_colours)
        panel.review.clicked.connect(self.review)
        panel.picker.changed.connect(self._on_image)
        panel.pixel_size.said.connect(self.say)
        panel.regions.changed.connect(self._refresh)
        panel.planes.currentIndexChanged.connect(self._refresh)
        panel.method.diameter.changed.connect(self._on_diameter)
        panel.method.models.replaced.connect(self.say)
        self._counts.changed.connect(self._refresh)
        self._run.progressed.connect(self._on_progress)
        self._run.segmented.connect(self._on_segmented)
        self._run.cancelled.connect(self._on_cancelled)
        for event in plane_events(self._viewer.dims):
            self.cleanup.connect(event, self._show_counts)
        self.cleanup.connect(self._viewer.layers.events.inserted, self._on_layers)
        self.cleanup.connect(self._viewer.layers.events.removed, self._on_layers)
        self.cleanup.add(self._leave_window)
        self.cleanup.add(self._circle.hide)
        self.cleanup.add(lambda: panel.pixel_size.follow(None))

    def _refresh(self, *_: Any) -> None:
        """Follow the choice, the count, and cells that have found their picture."""
        if self.cleanup.done:
            return
        panel, running = self.panel, self.running
        self._show_counts()
        cells, replaced, problem = panel.cells(), self._replaced(), ""
        colours = "" if self._offer is None else self._offer.words
        try:
            told = [check_part(self.image, self.regions), *LayerInfo.of(self.image).notes, colours]
        except ImageError as error:
            told, problem = [], colours or str(error)
        shape = plane_shape(self.image) if told and self.image is not None else ()
        panel.show_planes(shape[0] if len(shape) == 3 else 0)
        known = () if cells is None else LayerInfo.of(cells).notes  # which stand below
        panel.about.setText(" ".join(words for words in told if words not in known).strip())
        if not running:  # which says how far it is
            panel.show_status(problem, wrong=True)
        panel.run.setEnabled(not running and not problem)
        panel.run.setText("Segment" if replaced is None else "Segment again")
        panel.run.setToolTip(
            "Find, outline and count the white cells of the chosen image."
            if replaced is None
            else f"Puts what is found now into the layer {replaced.name}. Asks first where it was corrected."
        )
        panel.next_steps.setVisible(cells is not None)
        panel.save.refresh()
        panel.draw.setEnabled(self.image is not None)
        panel.cancel.setVisible(running)
        panel.bar.setVisible(running)
        panel.join.setVisible(self._offer is not None and not running)

    def _on_image(self) -> None:
        """Say nothing more of the picture before."""
        if self.cleanup.done:
            return
        self._circle.hide()
        if not self.running:
            self.say("")
        if not self.panel.save.running:
            self.panel.save.say("")
        self.panel.pixel_size.follow(self.image)
        if self.image is not None:
            self.image.events.data.connect(self._on_layers)  # once, however often it is chosen
        self._on_layers()

    def _on_layers(self, event: Any = None) -> None:
        """Look at the image again; its neighbours and its results may have changed."""
        self._offer = colour_offer(self._viewer, self.image)
        if self._offer is not None:
            self.panel.join.setToolTip(f"{self._offer.words} If so, press here.")
        self._refresh()

    # The diameter ----------------------------------------------------------------------------------------

    def _on_diameter(self) -> None:
        """Draw the diameter on the image while it is set by hand."""
        diameter, layer = self.panel.method.diameter.value, self.image
        if diameter is None or layer is None or self.running:
            self._circle.hide()
        else:
            self._circle.show(diameter, layer)

    # Colours ---------------------------------------------------------------------------------------------

    def _join_colours(self) -> None:
        offer = self._offer
        if offer is None:
            return
        self.panel.join.setEnabled(False)

        def add(joined: Any) -> None:
            if all(layer in self._viewer.layers for layer in offer.layers):
                self.image = offer.add(self._viewer, joined)

        ended = partial(self.panel.join.setEnabled, True)
        self.in_background(offer.join, "Joining the colours", done=add, ended=ended)

    # The run ---------------------------------------------------------------------------------------------

    def _on_progress(self, done: int, total: int, stage: str) -> None:
        self.panel.bar.setRange(0, total)
        self.panel.bar.setValue(done)
        self.panel.show_status(stage)
        self.panel.cancel.setEnabled(self._run.can_be_cancelled)

    def _on_segmented(self, segmentation: Segmentation, layers: ResultLayers) -> None:
        self.segmentation = segmentation
        if segmentation.cell_diameter is not None:
            self.panel.method.diameter.suggest(round(segmentation.cell_diameter, 1))
        if self._run.region is not None:
            self.image = self._run.region
        self._refresh()
        if layers.cells is not self.panel.cells():  # another image is chosen by now
            self.say(f"{LayerInfo.of(layers.cells).source}: {self._counts.words(layers.cells)}.")
        elif passing_folder(segmentation.labels) is not None:
            self.say("These cells are on disk until napari is closed: save them here, or they are gone then.")
        self.segmented.emit(segmentation, layers)

    def _show_counts(self, event: Any = None) -> None:
        """Tell the count of the cells layer, which edits change."""
        cells = self.panel.cells()
        info = LayerInfo() if cells is None else LayerInfo.of(cells)
        self.panel.result.setText("" if cells is None else self._counts.words(cells))
        self.panel.here.setText("" if cells is None else self._counts.plane_words(cells))
        legend, unusual = ("", "") if cells is None else self._counts.classes(cells)
        self.panel.classes.setText(legend)
        self.panel.found.setText(_found(info))
        self.panel.notes.setText("\n".join(filter(None, (*info.notes, unusual))))

    def fail(self, words: str) -> None:
        self._refresh()
        super().fail(words)

    def _on_cancelled(self) -> None:
        self.say("Cancelled; the layers are as they were.")
        self._refresh()
        self.cancelled.emit()


def _found(info: LayerInfo) -> str:
    if info.cell_diameter is None:
        return ""
    estimated = (info.settings or {}).get("cell_diameter") is None
    return (
        f"Cell diameter {info.cell_diameter:.0f} px, {'estimated from the image' if estimated else 'as set'}."
    )
