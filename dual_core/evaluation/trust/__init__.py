"""The trust report: how far to believe a model on given tomograms."""
