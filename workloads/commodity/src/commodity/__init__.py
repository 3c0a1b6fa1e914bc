"""Commodity models: sample data, training and serving."""
