NEXT=$(curl -sS -H "Authorization: Token $LAIONWEB_TOKEN" \
  http://127.0.0.1:8000/api/search/ --json '{
    "dataset": "postcards",
    "terms": [{"text": "a sailing boat"}],
    "limit": 2
  }' | value next)

# The cursor knows the search: its terms and filters need not be said again.
curl -sS -H "Authorization: Token $LAIONWEB_TOKEN" \
  http://127.0.0.1:8000/api/search/ --json '{
    "dataset": "postcards",
    "cursor": "'"$NEXT"'",
    "limit": 2
  }'
