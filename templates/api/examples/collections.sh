COLLECTION=$(curl -sS -H "Authorization: Token $LAIONWEB_TOKEN" \
  http://127.0.0.1:8000/api/collections/ --json '{
    "name": "Boats",
    "items": [{"dataset": "postcards", "id": 7}]
  }' | value id)

curl -sS -H "Authorization: Token $LAIONWEB_TOKEN" \
  "http://127.0.0.1:8000/api/collections/$COLLECTION/items/" --json '{
    "items": [{"dataset": "postcards", "id": 357}, {"dataset": "postcards", "id": 7}]
  }'

# It is yours to delete.
curl -sS -H "Authorization: Token $LAIONWEB_TOKEN" \
  -X DELETE "http://127.0.0.1:8000/api/collections/$COLLECTION/"
