SEARCH=$(curl -sS -H "Authorization: Token $LAIONWEB_TOKEN" \
  http://127.0.0.1:8000/api/searches/ --json '{
    "name": "Sailing boats",
    "search": "dataset=postcards&q=sailing+boat&orientation=landscape"
  }' | value id)

curl -sS -H "Authorization: Token $LAIONWEB_TOKEN" \
  "http://127.0.0.1:8000/api/searches/$SEARCH/results/?limit=2"

# It is yours to delete.
curl -sS -H "Authorization: Token $LAIONWEB_TOKEN" \
  -X DELETE "http://127.0.0.1:8000/api/searches/$SEARCH/"
