"""One bar in napari's activity dock."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

from napari.utils.progress import cancelable_progress

#: Where napari's progress bar writes its text form: nowhere.
_NO_TERMINAL = SimpleNamespace(write=lambda text: None, flush=lambda: None)


class _TellingProgress(cancelable_progress):
    """Calls its ``cancel_callback`` when it is cancelled; napari's own does when it is next iterated."""

    def cancel(self) -> None:
        super().cancel()
        if self.cancel_callback is not None:
            self.cancel_callback()


class ActivityBar:
    """A progress bar with a Cancel button in the activity dock. For the GUI thread.

    Parameters
    ----------
    title : str
        What is shown until the first stage is told.
    on_cancel : callable, optional
        Called when the user presses the bar's Cancel.
    """

    def __init__(self, title: str, on_cancel: Callable[[], object] | None = None) -> None:
        self._stage = ""
        self._bar: cancelable_progress | None = _TellingProgress(
            total=0, desc=title, cancel_callback=on_cancel, file=_NO_TERMINAL
        )

    def show(self, done: int, total: int, stage: str) -> None:
        """Show progress, as `napari_wbcseg.progress.Progress`."""
        bar = self._bar
        if bar is None:
            return
        if bar.total != total:
            bar.total = total
        if stage != self._stage:
            self._stage = stage
            bar.set_description(stage)
        # napari handles events while it repaints the bar, so it may be closed after each line.
        if self._bar is not None and done != bar.n:
            bar.update(done - bar.n)

    def close(self) -> None:
        """Take the bar away."""
        bar, self._bar = self._bar, None
        if bar is not None:
            bar.close()
