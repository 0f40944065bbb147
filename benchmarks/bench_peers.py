"""Beside other libraries, in the same process; those that are not installed are skipped."""

from lpsim.cli.headlines import PEER_ROWS, calls_beside_peer
from lpsim.cli.timing import best_times

from .peers import BY_NAME, peer_or_skip

#: What sizes are divided by, in tests.
SHRINK = 1
ROWS = {f"{operation}, {fmt}": (operation, fmt, size) for operation, fmt, size, _ in PEER_ROWS}


class Peers:
    params = (list(ROWS), list(BY_NAME))
    param_names = ("operation, format", "peer")
    timeout = 120

    def setup(self, row, name):
        operation, fmt, size = ROWS[row]
        self.calls = calls_beside_peer(peer_or_skip(name, operation, fmt), operation, fmt, size, SHRINK)

    def track_lpsim_over_peer(self, row, name):
        mine, other = best_times(self.calls, seconds=1)
        return mine / other

    track_lpsim_over_peer.unit = "times"
