"""The official JSON Schemas of AsyncAPI; the README in this folder names their origin."""
