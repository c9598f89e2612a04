"""Simulated devices: valid and invalid messages made from the contract, published as devices would."""
