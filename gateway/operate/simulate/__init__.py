"""Sensors made up from the contract: readings that fit and readings that do not, published as devices would."""
