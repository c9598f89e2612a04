"""Numbers in another unit than the record's: multiplied by the factor of `x-source`, exactly.

A meter counts in Wh where the record has kWh; a thermometer sends 215 for 21.5 degrees. The product is computed in
decimal arithmetic with all its digits: 215 times 0.1 is 21.5 and not 21.500000000000004. Only then it is converted to
its type: an integer must come out whole, a decimal must fit its scale, a float or double is the nearest to the product.
Values that are not numbers (null, the text of a time) stay unchanged.

Rejected: rounding first and multiplying then, as a consumer would; two roundings do not always give the nearest value.
"""

from __future__ import annotations

from decimal import MAX_EMAX, MAX_PREC, MIN_EMIN, ROUND_FLOOR, Context, Decimal
from typing import Any

from gateway.core.codec.json_text import MAX_DIGITS, Unrepresentable
from gateway.core.codec.validation_error import ValidationError, shown
from gateway.core.reading import Reason

_LEAST, _MOST = -(10 ** (MAX_DIGITS - 1)), 10**MAX_DIGITS  # texts of integers that `json_text` reads are between
EXACT = Context(prec=MAX_PREC, Emin=MIN_EMIN, Emax=MAX_EMAX, traps=[])


def whole(exact: Decimal, *, is_floor: bool) -> int | Unrepresentable | None:
    """Give a number as an integer, with `is_floor` the next smaller one; None when it is not whole."""
    if exact and exact.adjusted() > MAX_DIGITS:  # too long for an integer
        return Unrepresentable()
    integer = int(exact.to_integral_value(ROUND_FLOOR, EXACT))
    return integer if is_floor or integer == exact else None


class Factor:
    """Multiplies the numbers of one field by a finite factor, not zero.

    `is_integral` demands a whole product; with `is_floor` that is the next one towards smaller numbers.
    """

    def __init__(self, factor: Decimal, *, is_integral: bool, is_floor: bool = False) -> None:
        self.numerator, self.denominator = factor.as_integer_ratio()
        self.is_integral = is_integral
        self.factor = factor
        self._is_floor = is_floor

    def __call__(self, value: Any) -> Any:
        """Multiply a value from `json_text.parse`; one that is not a number is returned unchanged.

        The product is an int where it must be whole (else ValidationError, NOT_EXACT), or a Decimal. It is
        Unrepresentable when it has too many digits.
        """
        if type(value) is not int and type(value) is not Decimal:
            return value
        if self.is_integral and type(value) is int:
            quotient, rest = divmod(value * self.numerator, self.denominator)
            if rest and not self._is_floor:
                raise self._not_whole(value)
            return quotient
        if type(value) is int and not _LEAST < value < _MOST:
            return Unrepresentable()
        exact = EXACT.multiply(Decimal(value), self.factor) if value or type(value) is Decimal else Decimal(0)
        if not exact.is_finite():
            return Unrepresentable()
        if not self.is_integral:
            return exact
        product = whole(exact, is_floor=self._is_floor)
        if product is None:
            raise self._not_whole(value)
        return product

    def _not_whole(self, value: int | Decimal) -> ValidationError:
        return ValidationError(Reason.NOT_EXACT, f"{shown(value)} times {self.factor} is not a whole number")
