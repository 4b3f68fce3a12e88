"""Declarative, test-driven model apps."""
