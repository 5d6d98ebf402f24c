"""The rows of the campaign: a file a fault, or a few that are alike."""
