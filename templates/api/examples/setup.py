import os

import requests

ADDRESS = "http://127.0.0.1:8000/api"
api = requests.Session()
api.headers["Authorization"] = f"Token {os.environ['LAIONWEB_TOKEN']}"


def ask(method, path, **more):
    """What the API answers; a refusal is raised with its sentence."""
    answer = api.request(method, f"{ADDRESS}/{path}", **more)
    if not answer.ok:
        raise SystemExit(f"{answer.status_code}: {answer.text}")
    return answer.json() if answer.content else None


def show(found):
    for hit in found["results"]:
        print(f"{hit['similarity']:.2f}  {hit['id']:>4}  {hit['caption']}")
