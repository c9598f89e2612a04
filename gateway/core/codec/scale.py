"""Numbers in another unit than the record's: multiplied by the factor of `x-source`, exactly.

A meter counts in Wh where the record has kWh; a thermometer sends 215 for 21.5 degrees. The product is computed in
decimal arithmetic with all its digits: 215 times 0.1 is 21.5 and not 21.500000000000004. Only then it is converted to
its type: an integer must come out whole, a decimal must fit its scale, a float or double is the nearest to the product.
Values that are not numbers (null, the text of a time) stay unchanged.

Rejected: rounding first and multiplying then, as a consumer would; two roundings do not always give the nearest value.
"""

from __future__ import annotations

from decimal import MAX_EMAX, MAX_PREC, MIN_EMIN, Context, Decimal
from typing import TYPE_CHECKING, Any

from gateway.core.codec.json_text import MAX_DIGITS, Unrepresentable
from gateway.core.codec.validation_error import ValidationError, shown
from gateway.core.reading import Reason

if TYPE_CHECKING:
    from gateway.core.avro_schema import Field

EXACT = Context(prec=MAX_PREC, Emin=MIN_EMIN, Emax=MAX_EMAX, traps=[])


def factor_of(field: Field) -> Factor | None:
    """Make the factor of a field; None for a field that takes numbers as they are."""
    if field.factor is None:
        return None
    return Factor(field.factor, is_integral=any(branch.kind in {"int", "long"} for branch in field.type.branches))


class Factor:
    """Multiplies the numbers of one field by a finite factor, not zero; `is_integral` demands a whole product."""

    def __init__(self, factor: Decimal, *, is_integral: bool) -> None:
        self.numerator, self.denominator = factor.as_integer_ratio()
        self.is_integral = is_integral
        self.factor = factor

    def __call__(self, value: Any) -> Any:
        """Multiply a value from `json_text.parse`; one that is not a number is returned unchanged.

        The product is an int where it must be whole (else ValidationError, NOT_EXACT), or a Decimal. It is
        Unrepresentable when it has too many digits.
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
        if exact and exact.adjusted() > MAX_DIGITS:  # too long for an integer
            return Unrepresentable()
        product = int(exact)
        if product != exact:
            raise self._not_whole(value)
        return product

    def _not_whole(self, value: int | Decimal) -> ValidationError:
        return ValidationError(Reason.NOT_EXACT, f"{shown(value)} times {self.factor} is not a whole number")
