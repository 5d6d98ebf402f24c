"""Attrition: which clients are about to leave, and a model that keeps itself right about it."""

__version__ = "0.1.0"
