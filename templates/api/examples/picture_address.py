term = {"image_url": "http://127.0.0.1:8000/t/postcards/7/320.webp"}
query = {"dataset": "postcards", "terms": [term], "limit": 3}
show(ask("POST", "search/", json=query))
