"""Pictures and pages of measured results."""
