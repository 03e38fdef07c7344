term = {"image_url": "http://127.0.0.1:8000/postcards/7.jpg"}
query = {"dataset": "postcards", "terms": [term], "limit": 3}
show(ask("POST", "search/", json=query))
