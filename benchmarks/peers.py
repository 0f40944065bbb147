"""The peers, for suites: their adapters are the package's, which ``lpsim bench`` uses as well."""

from lpsim.cli.peers import PEERS

#: By name. Those that are not installed are here too; suites skip them.
BY_NAME = {peer.name: peer for peer in PEERS}


def peer_or_skip(name, operation, fmt):
    """Return the peer, or raise what asv takes for "not applicable"."""
    peer = BY_NAME[name]
    if not peer.is_installed or not peer.can(operation, fmt):
        raise NotImplementedError(f"{name} is not installed or has no {operation} in {fmt}")
    return peer
