"""An HTTP client process: reads orders from stdin, writes results to stdout.

    python http_client.py HOST PORT

An order is a line {"requests": [{method, path, body}…]}: the first is sent and its
answer reported; with "seconds", all are sent in turn until the time is over.
"""

import http.client
import itertools
import json
import sys
import time


def main(host: str, port: str) -> None:
    connection = http.client.HTTPConnection(host, int(port), timeout=60)
    for line in sys.stdin:
        order = json.loads(line)
        if "seconds" in order:
            result = burst(connection, order["requests"], order["seconds"])
        else:
            result = once(connection, order["requests"][0])
        print(json.dumps(result), flush=True)


def once(connection: http.client.HTTPConnection, request: dict) -> dict:
    if connection.sock is None:
        connection.connect()
    started = time.perf_counter()
    try:
        status, data = ask(connection, request)
    except ConnectionError:  # the server ends connections that rest
        connection.close()
        return once(connection, request)
    took_ms = (time.perf_counter() - started) * 1000
    answer = json.loads(data)
    if status != 200:
        return {"status": status, "answer": answer}
    ids = [hit["id"] for hit in answer["results"]]
    return {"ids": ids, "next": answer["next"], "ms": took_ms}


def burst(
    connection: http.client.HTTPConnection, requests: list[dict], seconds: float
) -> dict:
    first = once(connection, requests[0])
    if "status" in first:
        return first
    started = time.perf_counter()
    for count, request in enumerate(itertools.cycle(requests)):
        elapsed = time.perf_counter() - started
        if elapsed >= seconds:
            return {"count": count, "seconds": elapsed}
        status, data = ask(connection, request)
        if status != 200:
            return {"status": status, "answer": json.loads(data)}
    raise AssertionError("cycle() does not end")


def ask(connection: http.client.HTTPConnection, request: dict) -> tuple[int, bytes]:
    headers = {"Content-Type": "application/json"} if "body" in request else {}
    connection.request(request["method"], request["path"], request.get("body"), headers)
    response = connection.getresponse()
    return response.status, response.read()


if __name__ == "__main__":
    main(*sys.argv[1:])
