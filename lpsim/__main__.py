"""``python -m lpsim`` is the ``lpsim`` command."""

from lpsim.cli import main

if __name__ == "__main__":
    main()
