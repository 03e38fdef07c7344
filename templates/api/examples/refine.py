words = [{"text": "a boat"}]
query = {"dataset": "postcards", "terms": words, "limit": 20}
good, bad = set(), set()

for number in range(3):
    hits = ask("POST", "search/", json=query)["results"]
    boats = {hit["id"] for hit in hits if "boat" in hit["caption"]}
    print(f"round {number}: {len(boats)} of {len(hits)} speak of a boat")

    # Your eye does this; here the captions do.
    good |= boats
    bad |= {hit["id"] for hit in hits} - boats
    marks = {"good": sorted(good), "bad": sorted(bad)}
    tuned = ask("POST", "refine/", json={**query, "terms": words, **marks})
    query["terms"] = [{"embedding": tuned["embedding"]}]
