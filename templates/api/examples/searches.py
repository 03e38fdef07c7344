saved = {
    "name": "Sailing boats",
    "search": "dataset=postcards&q=sailing+boat&orientation=landscape",
}
saved = ask("POST", "searches/", json=saved)
show(ask("GET", f"searches/{saved['id']}/results/", params={"limit": 3}))

# It is yours to delete.
ask("DELETE", f"searches/{saved['id']}/")
