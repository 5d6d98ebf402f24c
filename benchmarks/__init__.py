"""Measurements: of the decision, on streams whose truth is known."""
