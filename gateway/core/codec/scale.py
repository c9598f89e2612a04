"""Numbers in another unit than the record's: times the factor of `x-source`, exactly.

A meter counts in Wh where the record has kWh; a thermometer says 215 for 21.5 degrees. The product is that of decimal
arithmetic, with as many digits as it has: 215 times 0.1 is 21.5 and not 21.500000000000004. Only then it meets its
type: an integer must come out whole, a decimal must fit its scale, a float or double takes the nearest it has to the
product. What is no number (null, the text of a time) stays as it is.

Rejected: to round first and to multiply then, as a consumer would; two roundings are not always the nearest.
"""

from __future__ import annotations

from decimal import MAX_EMAX, MAX_PREC, MIN_EMIN, Context, Decimal
from typing import Any

from gateway.core.codec.json_text import MAX_DIGITS, Unrepresentable
from gateway.core.codec.validation_error import ValidationError, shown
from gateway.core.reading import Reason

EXACT = Context(prec=MAX_PREC, Emin=MIN_EMIN, Emax=MAX_EMAX, traps=[])


class Factor:
    """Multiplies the numbers of one field.

    Args:
        factor: finite, and not zero.
        is_integral: the product must be a whole number.

    Attributes:
        factor: as given.
        numerator: of the factor in lowest terms, with `denominator`.
        is_integral: as given.
    """

    def __init__(self, factor: Decimal, *, is_integral: bool) -> None:
        self.numerator, self.denominator = factor.as_integer_ratio()
        self.is_integral = is_integral
        self.factor = factor

    def __call__(self, value: Any) -> Any:
        """Multiply a number.

        Args:
            value: as `json_text.parse` gives it.

        Returns:
            The product: an int where it must be whole, else a Decimal; Unrepresentable when it has too many digits.
            What is no number is given back.

        Raises:
            ValidationError: NOT_EXACT.
        """
        if type(value) is not int and type(value) is not Decimal:
            return value
        if self.is_integral and type(value) is int:
            product, rest = divmod(value * self.numerator, self.denominator)
            if rest:
                raise self._not_whole(value)
            return product
        exact = EXACT.multiply(Decimal(value), self.factor) if value or type(value) is Decimal else Decimal(0)
        if not exact.is_finite():
            return Unrepresentable()
        return self._whole(exact, value) if self.is_integral else exact

    def _whole(self, exact: Decimal, value: int | Decimal) -> int | Unrepresentable:
        if exact and exact.adjusted() > MAX_DIGITS:  # no integer is made of that
            return Unrepresentable()
        product = int(exact)
        if product != exact:
            raise self._not_whole(value)
        return product

    def _not_whole(self, value: int | Decimal) -> ValidationError:
        return ValidationError(Reason.NOT_EXACT, f"{shown(value)} times {self.factor} is no whole number")
