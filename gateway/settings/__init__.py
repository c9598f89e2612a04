"""What gateway.yaml is read and checked with: YAML with lines, values with units, secrets from files."""
