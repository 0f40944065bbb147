"""What is not collected where an extra is missing."""

import importlib.util

collect_ignore_glob = [] if importlib.util.find_spec("torch") else [
    "lpsim/torch/*", "lpsim/examples/training.py", "docs/howto/torch.md"
]  # fmt: skip
