query = {"dataset": "postcards", "terms": [{"item": 7}], "limit": 3}
show(ask("POST", "search/", json=query))
