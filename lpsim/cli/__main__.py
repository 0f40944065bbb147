"""Makes ``python -m lpsim.cli`` the same as ``lpsim``."""

from lpsim.cli import main

if __name__ == "__main__":
    main()
