"""One bar in napari's activity dock."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

from napari.utils.progress import cancelable_progress

#: Where napari's progress bar writes its text form: nowhere.
_NO_TERMINAL = SimpleNamespace(write=lambda text: None, flush=lambda: None)


class ActivityBar(cancelable_progress):
    """A progress bar with a Cancel button in the activity dock. For the GUI thread.

    Parameters
    ----------
    title : str
        What is shown until the first stage is told.
    on_cancel : callable, optional
        Called at once when the user presses the bar's Cancel; napari does when the bar is next iterated.
    """

    def __init__(self, title: str, on_cancel: Callable[[], object] | None = None) -> None:
        self._stage = title
        super().__init__(total=0, desc=title, cancel_callback=on_cancel, file=_NO_TERMINAL)

    def cancel(self) -> None:
        super().cancel()
        if self.cancel_callback is not None:
            self.cancel_callback()

    def show(self, done: int, total: int, stage: str) -> None:
        """Show progress, as `napari_wbcseg.progress.Progress`, until it is closed."""
        if self.disable:
            return
        self.total = total
        if stage != self._stage:
            self._stage = stage
            self.set_description(stage)
        # napari handles events while it repaints the bar, so it may be closed after each line.
        if not self.disable and done != self.n:
            self.update(done - self.n)
