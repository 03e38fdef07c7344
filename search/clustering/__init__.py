"""Clusters of vectors: which clusters a query has to read for a given recall.

Pure numpy: the package knows neither Django nor ClickHouse.
"""
