"""Fused dot products: several products and the accumulator in one aligned sum."""

from __future__ import annotations

from dataclasses import dataclass

from lpsim.checks import check_choice, shown

__all__ = ["ALIGNMENTS", "FusedDot"]

#: Allowed values of ``FusedDot.alignment``.
ALIGNMENTS = ("truncate", "cdna3", "cdna3_split")


@dataclass(frozen=True)
class FusedDot:
    """A dot product of several terms that rounds once at its end.

    A product a * b of values ``a = sa * 2**ea`` and ``b = sb * 2**eb`` of the input formats, with e at least the
    format's emin and s below 1 only for subnormal numbers, is the exact term ``(sa * sb) * 2**(ea + eb)``: its
    significand may be 2 or more, and is not normalised. The accumulator is one more term. With E the largest exponent
    of the terms and ``q = E - fraction_bits``, every term is truncated toward zero to a multiple of ``2**q``, the
    terms are summed exactly, and the sum is rounded to the unit's ``accumulator_format`` in its ``rounding``.

    Parameters
    ----------
    terms : int
        Number of products, L. A shorter rest is filled with zeros.
    fraction_bits : int, optional
        F: how many bits below the leading exponent are kept. Default: all, the sum is exact.
    zero_exponent : int
        Exponent of a zero term, so the smallest possible E.
    alignment : str
        ``"truncate"`` as above (NVIDIA), or AMD CDNA3's: ``"cdna3"`` truncates the products among themselves and then
        joins the accumulator, with floors to some bits more; ``"cdna3_split"`` does so for
        even and odd terms apart. Both are defined in `lpsim.reference`.
    group : int
        So many consecutive products are first summed exactly, and their sum times the two scales is a term with the
        scales' exponent, unless all of the products are zero (NVIDIA's mxf4 and nvf4). Default: 1, products are terms
        of their own.
    dealt : int, optional
        How the terms of a block of ``order="blocked(n)"`` go to its dots: runs of so many consecutive terms are
        dealt to the dots in turn. Default: consecutive terms.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range.

    Notes
    -----
    Source: Fasi, Higham, Mikaitis and Pranesh, "Numerical behavior of NVIDIA tensor cores", PeerJ Computer Science 7,
    2021, doi:10.7717/peerj-cs.330; Khattak and Mikaitis, arXiv:2512.07004; the models of MMA-Sim, arXiv:2511.10909.

    Examples
    --------
    >>> import lpsim as lp
    >>> unit = lp.MatrixUnit("half", dot=lp.FusedDot(4, 23), rounding="toward_zero", overflow="to_infinity")
    >>> x = [1, 2**-12, 2**-12, 2**-12]  # 3 * 2**-24 beside 1: each is lost
    >>> float(lp.matmul(x, [1, 2**-12, 2**-12, 2**-12], unit)) == 1
    True
    """

    terms: int
    fraction_bits: int | None = None
    zero_exponent: int = -132
    alignment: str = "truncate"
    group: int = 1
    dealt: int | None = None

    def __post_init__(self) -> None:
        for argument, smallest, optional in (
            ("terms", 1, False),
            ("fraction_bits", 0, True),
            ("zero_exponent", -2000, False),
            ("group", 1, False),
            ("dealt", 1, True),
        ):
            value = getattr(self, argument)
            if optional and value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int):
                raise TypeError(f"dot.{argument} is {shown(value)}; allowed: an integer{' or None' * optional}")
            if value < smallest:
                raise ValueError(f"dot.{argument} is {shown(int(value))}; allowed: {smallest} or more")
        if self.zero_exponent > 0:
            raise ValueError(f"dot.zero_exponent is {shown(self.zero_exponent)}; allowed: 0 or less")
        check_choice("dot.alignment", self.alignment, ALIGNMENTS)
        if self.alignment != "truncate" and (self.fraction_bits is None or self.group != 1):
            raise ValueError(f"dot.alignment is {shown(self.alignment)}; allowed: with fraction_bits and without group")
        if self.alignment == "cdna3_split" and self.terms % 2:
            raise ValueError(f"dot.terms is {shown(self.terms)}; allowed: even numbers, with 'cdna3_split'")
        if self.terms % self.group:
            raise ValueError(f"dot.group is {shown(self.group)}; allowed: divisors of terms, {shown(self.terms)}")
