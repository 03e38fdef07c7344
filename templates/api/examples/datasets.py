for dataset in ask("GET", "datasets/"):
    print(dataset["slug"], dataset["items"], dataset["dimension"])
