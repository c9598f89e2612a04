"""The official JSON Schemas of AsyncAPI; the README beside this file says where they come from."""
