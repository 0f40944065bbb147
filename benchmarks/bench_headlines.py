"""What ``lpsim bench`` prints about lpsim and its limits, commit by commit."""

from lpsim.cli.headlines import headlines, measure

SHRINK = 1
HEADLINES = {f"{one.name}, over {one.against}": one for one in headlines(quick=False) if one.group != "peers"}


class Headlines:
    params = list(HEADLINES)
    param_names = ("headline",)
    timeout = 120

    def track_ratio(self, headline):
        return measure(HEADLINES[headline], 1.0, SHRINK).ratio

    track_ratio.unit = "times"
