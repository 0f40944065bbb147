"""How commands and tools end: with one line and an exit code, within a second of an interrupt. Needs no extra.

Code 130 is that of an interrupt (Ctrl-C), 143 of SIGTERM, 129 of SIGHUP, 141 of a reader of the output that has left,
and 1 of a fault: a full disk, no memory, a process that was killed.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor
from types import FrameType
from typing import NoReturn

from lpsim.files import remove_unfinished

__all__ = ["reported", "run"]

#: Signals that end a command, and what it says then.
_SIGNALS = {
    getattr(signal, name): sentence
    for name, sentence in (("SIGINT", "interrupted"), ("SIGTERM", "terminated"), ("SIGHUP", "the terminal is closed"))
    if hasattr(signal, name)
}

#: Seconds that the main thread has: to be told of a signal, as compiled code may keep it from that; to undo what it has
#: begun; and to end, as other threads may keep it from that.
_TO_REACT, _TO_UNDO, _TO_END = 0.6, 5.0, 0.2

#: Seconds until a signal comes again that came when nothing can be done about it.
_TO_RETRY = 0.02


class _Stopped(SystemExit):
    """A signal other than Ctrl-C has come; as an exception, so that everything that is begun is undone."""

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)
        self.number = signal.Signals(number)


def run(main: Callable[[], int | None], name: str = "lpsim") -> NoReturn:
    """Call the function of a command or tool, and end the process as it ended.

    Parameters
    ----------
    main : callable
        Returns an exit code, or None for 0.
    name : str
        With which its lines on the standard error stream begin.
    """
    signals = _Signals(name)
    try:
        with reported(name):
            code = main()
    except SystemExit as error:
        code = error.code  # type: ignore[assignment]
    try:
        # What is left of the output may meet a reader that has gone.
        with reported(name):
            pass
    except SystemExit as error:
        code = code or error.code  # type: ignore[assignment]
    signals.undone = True
    sys.exit(code)


@contextlib.contextmanager
def reported(name: str = "lpsim") -> Iterator[None]:
    """Turn what can befall any command into one line and an exit code, and write out what it has printed."""
    try:
        yield
        if sys.stdout is not None:
            sys.stdout.flush()
    except KeyboardInterrupt:
        _end(name, _SIGNALS[signal.SIGINT], 128 + signal.SIGINT)
    except _Stopped as error:
        _end(name, _SIGNALS[error.number], 128 + error.number)
    except BrokenPipeError as error:
        _drop_output()
        if error.filename is None:  # it is the standard output, as of `lpsim ... | head`
            raise SystemExit(141) from None
        _end(name, str(error), 1)
    except OSError as error:
        _drop_output()
        _end(name, str(error), 1)
    except (MemoryError, BrokenExecutor) as error:
        _end(name, " ".join(str(error).split()) or "the memory is exhausted", 1)


def _end(name: str, sentence: str, code: int) -> NoReturn:
    with contextlib.suppress(OSError):
        print(f"{name}: {sentence}", file=sys.stderr, flush=True)
    raise SystemExit(code) from None


def _drop_output() -> None:
    """Let what is still to be printed vanish if it cannot be written, of which Python would complain at its end."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        with contextlib.suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, sys.stdout.fileno())
            os.close(nowhere)


class _Signals:
    """Turns signals into exceptions of the main thread, and ends the process where that has no effect.

    Attributes
    ----------
    undone : bool
        Whether the process has nothing left to do but to end.
    """

    def __init__(self, name: str) -> None:
        self.undone = False
        self._name = name
        self._reacted = False
        if threading.current_thread() is not threading.main_thread():
            return  # no other one may do this, or is told of signals
        # Those that are ignored, as under nohup, are to be ignored.
        usual = (signal.SIG_DFL, signal.default_int_handler)
        self._own = [number for number in _SIGNALS if signal.getsignal(number) in usual]
        for number in self._own:
            signal.signal(number, self._react)
        reader, writer = os.pipe()
        if os.name == "posix":
            os.set_blocking(writer, False)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        if hasattr(os, "register_at_fork"):
            # Signals of a forked child are not those of this process.
            os.register_at_fork(after_in_child=lambda: signal.set_wakeup_fd(-1))
        threading.Thread(target=self._watch, args=(reader,), name="lpsim-signals", daemon=True).start()

    def _react(self, number: int, frame: FrameType | None) -> None:
        if self._reacted:
            return  # what the first one began is not to be broken off
        if _is_lost(frame):
            threading.Timer(_TO_RETRY, os.kill, (os.getpid(), number)).start()
            return
        self._reacted = True
        raise KeyboardInterrupt if number == signal.SIGINT else _Stopped(number)

    def _watch(self, reader: int) -> None:
        while (number := os.read(reader, 1)[0]) not in self._own:
            pass
        if _wait(lambda: self._reacted, _TO_REACT) and _wait(lambda: self.undone, _TO_UNDO):
            time.sleep(_TO_END)
        else:
            self._reacted = True  # now it is too late for that
            os.write(2, f"{self._name}: {_SIGNALS[signal.Signals(number)]}\n".encode())
        remove_unfinished()
        for child in multiprocessing.active_children():
            child.kill()
        os._exit(128 + number)


def _is_lost(frame: FrameType | None) -> bool:
    """Whether an exception would be: LLVM calls functions of llvmlite's while it compiles, and knows no exceptions."""
    while frame is not None:
        if frame.f_code.co_name.startswith("_raw_object_cache") and "llvmlite" in frame.f_code.co_filename:
            return True
        frame = frame.f_back
    return False


def _wait(reached: Callable[[], bool], seconds: float) -> bool:
    until = time.monotonic() + seconds
    while not reached() and time.monotonic() < until:
        time.sleep(0.02)
    return reached()
