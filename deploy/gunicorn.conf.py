"""Configuration of gunicorn for the web processes, from the environment."""

import os

bind = f"{os.environ.get('HOST', '0.0.0.0')}:{os.environ.get('PORT', '8000')}"
# A search mostly waits for the engine and the encoder, so threads suit it.
workers = int(os.environ.get("WEB_WORKERS", "4"))
threads = int(os.environ.get("WEB_THREADS", "8"))
timeout = 120  # an exact search over many rows may take a minute
max_requests = 20_000
max_requests_jitter = 2_000
accesslog = "-"
