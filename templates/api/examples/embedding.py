import numpy as np

# With "include" an answer holds the embeddings of what it found, too.
query = {
    "dataset": "postcards",
    "terms": [{"text": "a windmill"}],
    "include": ["embedding"],
    "limit": 10,
}
found = ask("POST", "search/", json=query)
mean = np.mean([hit["embedding"] for hit in found["results"]], axis=0)

terms = [{"embedding": mean.tolist()}]
query = {"dataset": "postcards", "terms": terms, "limit": 3}
show(ask("POST", "search/", json=query))
