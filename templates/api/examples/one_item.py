item = ask("GET", "datasets/postcards/items/7/")
print(item["caption"], item["width"], item["height"])
print(item["page"])
