"""Prometheus metrics, which other modules observe.

With PROMETHEUS_MULTIPROC_DIR, prometheus_client adds up those of all web processes and
workers of a machine.
"""

from prometheus_client import Counter, Histogram

BUCKETS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.8, 1.5, 3, 10)

REQUESTS = Histogram(
    "laionweb_request_seconds",
    "Answers to requests, by the name of the address.",
    ["address", "method", "status"],
    buckets=BUCKETS,
)
ENCODE_SECONDS = Histogram(
    "laionweb_encode_seconds", "Terms of a query into vectors.", buckets=BUCKETS
)
SEARCH_SECONDS = Histogram(
    "laionweb_search_seconds", "Vectors into a page of results.", buckets=BUCKETS
)
BATCHES = Histogram(
    "laionweb_encode_batch",
    "Requests that an encode worker computed together.",
    ["kind"],
    buckets=(1, 2, 4, 8, 16, 32, 64),
)
EXPIRED = Counter(
    "laionweb_encode_expired", "Requests that waited too long for an encode worker."
)
INGESTION = Histogram(
    "laionweb_ingest_seconds",
    "Attempts at a shard.",
    buckets=(1, 5, 20, 60, 300, 1_200, 3_600),
)
