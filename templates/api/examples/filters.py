query = {
    "dataset": "postcards",
    "terms": [{"text": "a boat"}],
    "filters": {
        "orientation": "landscape",
        "min_width": 512,
        "caption": "sea",
        "exclude": [7],
    },
    "limit": 3,
}
found = ask("POST", "search/", json=query)
for hit in found["results"]:
    print(f"{hit['width']} × {hit['height']}  {hit['caption']}")
print(found["matching"]["items"], "items pass these filters")
