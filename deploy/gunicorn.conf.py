"""Configuration of gunicorn for the web processes, from the environment."""

import os

bind = f"{os.environ.get('HOST', '0.0.0.0')}:{os.environ.get('PORT', '8000')}"
# A search mostly waits for the engine and the encoder, so threads suit it.
workers = int(os.environ.get("WEB_WORKERS", "4"))
threads = int(os.environ.get("WEB_THREADS", "8"))
worker_class = "laionweb.gunicorn_worker.Worker"  # with a time limit for requests
timeout = 120
# Longer than the proxy keeps a connection that it does not use.
keepalive = int(os.environ.get("WEB_IDLE_S", "75"))
limit_request_line = 0  # of searches by several images; the proxy limits it
max_requests = 20_000
max_requests_jitter = 2_000
accesslog = "-"
