"""The fault campaign: what is promised about crashes, power cuts and spoilt files, tried out; docs/faults.md."""
