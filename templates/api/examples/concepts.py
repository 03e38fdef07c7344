# A concept is an embedding with a name: here the tuned one.
marks = {"good": [7, 357], "bad": [2, 410]}
query = {"dataset": "postcards", "terms": [{"text": "a boat"}], **marks}
embedding = ask("POST", "refine/", json=query)["embedding"]

concept = {"name": "Boats", "dataset": "postcards", "embedding": embedding}
concept = ask("POST", "concepts/", json=concept)
print(concept["name"], "version", concept["version"])

terms = [{"concept": concept["id"]}, {"text": "sunset", "weight": 0.7}]
query = {"dataset": "postcards", "terms": terms, "limit": 3}
show(ask("POST", "search/", json=query))

# It is yours to delete.
ask("DELETE", f"concepts/{concept['id']}/")
