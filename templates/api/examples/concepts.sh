# A concept is an embedding with a name: here the tuned one.
EMBEDDING=$(curl -sS -H "Authorization: Token $LAIONWEB_TOKEN" \
  http://127.0.0.1:8000/api/refine/ --json '{
    "dataset": "postcards",
    "terms": [{"text": "a boat"}],
    "good": [7, 357],
    "bad": [2, 410]
  }' | value embedding)

CONCEPT=$(curl -sS -H "Authorization: Token $LAIONWEB_TOKEN" \
  http://127.0.0.1:8000/api/concepts/ --json '{
    "name": "Boats",
    "dataset": "postcards",
    "embedding": '"$EMBEDDING"'
  }' | value id)

curl -sS -H "Authorization: Token $LAIONWEB_TOKEN" \
  http://127.0.0.1:8000/api/search/ --json '{
    "dataset": "postcards",
    "terms": [{"concept": "'"$CONCEPT"'"}, {"text": "sunset", "weight": 0.7}],
    "limit": 2
  }'

# It is yours to delete.
curl -sS -H "Authorization: Token $LAIONWEB_TOKEN" \
  -X DELETE "http://127.0.0.1:8000/api/concepts/$CONCEPT/"
