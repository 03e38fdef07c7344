from requests.adapters import HTTPAdapter
from urllib3.util import Retry

# It waits as long as Retry-After says, and asks again.
patient = Retry(total=5, status_forcelist=[429, 503], allowed_methods=None)
for scheme in ("http://", "https://"):
    api.mount(scheme, HTTPAdapter(max_retries=patient))

query = {"dataset": "postcards", "q": "boat", "limit": 3}
found = ask("GET", "search/", params=query)
print(len(found["results"]), "hits")
