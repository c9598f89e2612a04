"""Every licence is read, and none gets in that nobody looked at."""

from __future__ import annotations

from email import message_from_string

import pytest

from release import licences
from release.lock import packages


def test_every_package_of_a_gateway_fits_apache_2() -> None:
    """What is handed out together may be handed out together."""
    assert {package.name for package in packages("run") if not licences.fits(licences.licence(package))} == set()


@pytest.mark.parametrize(
    ("told", "licence"),
    [
        ("License-Expression: MIT\nLicense: something else", "MIT"),
        ("License: ISC License", "ISC"),
        ("Classifier: Topic :: Internet\nClassifier: License :: OSI Approved :: Apache Software License", "Apache-2.0"),
        ("Name: a", ""),
    ],
)
def test_expression_is_the_most_exact_word_of_the_metadata(told: str, licence: str) -> None:
    """The expression comes before the free text, that before the classifier."""
    assert licences.expression(message_from_string(told)) == licence


@pytest.mark.parametrize("licence", ["MIT", "EPL-2.0 OR BSD-3-Clause", "Apache-2.0 AND BSD-2-Clause"])
def test_fits_needs_one_choice_all_of_which_is_listed(licence: str) -> None:
    """Of several offers one is enough; of several duties all count."""
    assert licences.fits(licence)


@pytest.mark.parametrize(
    "licence", ["", "GPL-3.0-only", "MIT AND GPL-3.0-only", "(MIT OR GPL-3.0-only) AND X", "UNKNOWN"]
)
def test_fits_refuses_what_nobody_looked_at(licence: str) -> None:
    """An unknown licence is looked at by somebody before it goes out."""
    assert not licences.fits(licence)
