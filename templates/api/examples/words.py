query = {"dataset": "postcards", "q": "sailing boat -night", "limit": 3}
show(ask("GET", "search/", params=query))
