query = {"dataset": "postcards", "items": [318, 227, 358]}
told = ask("POST", "popularity/", json=query)
for item, count in told["items"].items():
    print(f"{count} × item {item}")
for each in told["keywords"]:
    print(f"{each['count']} × for “{each['words']}”")
