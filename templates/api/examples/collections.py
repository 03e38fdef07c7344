collection = ask("POST", "collections/", json={"name": "Windmills"})
where = f"collections/{collection['id']}/"

query = {"dataset": "postcards", "q": "a windmill", "limit": 3}
hits = ask("GET", "search/", params=query)["results"]
items = [{"dataset": "postcards", "id": hit["id"]} for hit in hits]
added = ask("POST", f"{where}items/", json={"items": items, "words": "a windmill"})
print(added["new"], "are new,", added["there"], "were there")

# Say of the first one why, and put it last.
first = f"{where}items/postcards/{items[0]['id']}/"
ask("PATCH", first, json={"note": "the best of them", "place": 3})

for member in ask("GET", f"{where}items/")["results"]:
    print(member["id"], member["caption"], "–", member["note"] or "no note")

# It is yours to delete.
ask("DELETE", where)
