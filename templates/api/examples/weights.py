terms = [
    {"text": "a boat"},
    {"text": "sunset", "weight": 0.8},
    {"text": "a storm", "weight": -0.5},
]
query = {"dataset": "postcards", "terms": terms, "limit": 3}
show(ask("POST", "search/", json=query))
