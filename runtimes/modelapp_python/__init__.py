"""Placeholder docstring until the plugin lands."""
