"""Torch modules. They know tensors and layouts, never the user's data."""
