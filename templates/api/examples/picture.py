import base64

# A picture to search by: the small one of item 7.
picture = api.get("http://127.0.0.1:8000/t/postcards/7/320.webp").content

term = {"image": base64.b64encode(picture).decode()}
query = {"dataset": "postcards", "terms": [term], "limit": 3}
show(ask("POST", "search/", json=query))
