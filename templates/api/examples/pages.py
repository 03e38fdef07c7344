def pages(most, **query):
    """The hits of one page after the other, until there are as many."""
    hits = []
    while len(hits) < most:
        found = ask("POST", "search/", json=query)
        hits += found["results"]
        if not found["next"]:
            break
        # The cursor knows the search: its terms and filters need not be said again.
        query = {"dataset": query["dataset"], "cursor": found["next"], "limit": 100}
    return hits[:most]


boats = pages(250, dataset="postcards", terms=[{"text": "a sailing boat"}], limit=100)
print(len(boats), "hits, none of them twice:", len({hit["id"] for hit in boats}))
