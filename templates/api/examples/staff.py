import time

# Another dataset over the source of one that is there.
settings = ask("GET", "datasets/postcards/")["settings"]
ask("POST", "datasets/", json={**settings, "slug": "once_more", "title": "Once more"})
ask("POST", "datasets/once_more/shards/start/", json={"shards": "0"})

# It goes on in the background.
where = "datasets/once_more/"
while (far := ask("GET", f"{where}progress/"))["moving"]:
    time.sleep(1)
for each in far["errors"]:
    print(each["shards"], each["error"])
print(far["rows"]["visible"], "items can be found")

# Only a test: it is dropped again.
ask("DELETE", where, params={"sure": "once_more"})
