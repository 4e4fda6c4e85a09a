"""Accuracy and speed: agents over datasets, metrics with intervals, reports."""
