"""Ctrl-C during a fit: a request to end the training with what it has learned, as long as that is of any use.

Enters: SIGINT. Leaves: a flag that trainings look at between two steps, or Python's own KeyboardInterrupt.
"""

import signal
import sys
import threading

# what a fit can be a part of; there a Ctrl-C is meant for the whole, and must not be taken for this one fit
FRAMEWORKS = {"augment_gen", "imblearn", "joblib", "sklearn"}


class Interruption:
    """Listens for Ctrl-C inside a with-block; the handler from before is back behind it.

    The first Ctrl-C sets ``asked``, so that nothing is torn apart in the middle of a step. A second one, and any one before
    ``usable``, raises KeyboardInterrupt.

    Parameters
    ----------
    listens : bool
        Without, nothing is changed, and ``asked`` stays False. Nor is it outside of the main thread, which alone receives
        signals, or where the program has a handler of its own.

    Attributes
    ----------
    usable : bool
        Set by trainings as soon as what they have learned is worth keeping.
    asked : bool
    """

    def __init__(self, listens=False):
        self.usable = self.asked = False
        self._listens = listens
        self._before = None

    def __enter__(self):
        in_main_thread = threading.current_thread() is threading.main_thread()
        if self._listens and in_main_thread and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            self._before = signal.signal(signal.SIGINT, self._on_signal)
        return self

    def __exit__(self, *_):
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)

    def _on_signal(self, number, frame):
        if self.asked or not self.usable:
            signal.default_int_handler(number, frame)
        self.asked = True


def is_direct_call():
    """Whether the method that asks was called by a user's code, and not within cross-validation, a pipeline, a comparison.

    The method has to be wrapped by ``sklearn.base._fit_context``, whose frame is skipped.
    """
    frame = sys._getframe(2).f_back
    while frame is not None:
        if frame.f_globals.get("__name__", "").partition(".")[0] in FRAMEWORKS:
            return False
        frame = frame.f_back
    return True
