"""A command of which one function works without an end, for tests of what ends it.

``LPSIM_WORK`` names the function, ``LPSIM_MARK`` files that say which processes have come to it; ``LPSIM_COMPILED``
lets it stay in compiled code, in which no handler is called. The command ``sweep EXECUTOR PATH`` is a sweep of `slowly`
as a tool does it.

Processes that are started afresh run what is here, too, so that the function works without an end there as well.
"""

import hashlib
import importlib
import os
import signal
import sys
from pathlib import Path


def mark():
    Path(f"{os.environ['LPSIM_MARK']}.{os.getpid()}").touch()


def stay():
    """Compute for minutes, without the interpreter's lock and whatever signals come."""
    hashlib.pbkdf2_hmac("sha256", b"", b"", 2**31 - 1)


def slowly(n):
    if n < 2:
        return n
    mark()
    stay()
    return None


def endless(work):
    def forever(*arguments, **options):
        while True:
            mark()
            if "LPSIM_COMPILED" in os.environ:
                stay()
            work(*arguments, **options)

    return forever


if "LPSIM_WORK" in os.environ:
    module, _, name = os.environ["LPSIM_WORK"].rpartition(".")
    module = importlib.import_module(module)
    setattr(module, name, endless(getattr(module, name)))

if __name__ == "__main__":
    # Where the tests were started in the background, interrupts are ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if sys.argv[1] == "sweep":
        import lpsim as lp
        from lpsim.cli import ending

        given = {"executor": sys.argv[2], "path": sys.argv[3], "workers": 2}
        ending.run(lambda: lp.sweep(slowly, {"n": range(4)}, **given) and None, "sweep")
    from lpsim.cli import main

    main()
