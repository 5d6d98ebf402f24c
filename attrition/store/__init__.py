"""The client store: drops, checks, quarantine, the Delta tables and their versions. Knows no models."""
