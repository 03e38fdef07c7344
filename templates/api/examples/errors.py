query = {"dataset": "nowhere", "terms": [{"text": "a boat"}]}
answer = api.post(f"{ADDRESS}/search/", json=query)
if not answer.ok:
    print(answer.status_code, answer.json())
