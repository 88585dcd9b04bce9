"""The embedded model, which stands in for a model without key or server."""
