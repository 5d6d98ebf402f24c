"""The fault campaign: `python -m campaign`."""

from __future__ import annotations

import sys

from campaign import shim

if __name__ == "__main__":
    if why_not := shim.available():
        sys.exit(f"campaign: {why_not}")
    shim.again("campaign", sys.argv[1:])
    from campaign.command import main

    sys.exit(main())
