"""gateway.yaml: its sections, the values they take, its secrets, and its consistency with the contract."""
