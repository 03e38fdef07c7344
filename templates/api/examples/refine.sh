curl -sS -H "Authorization: Token $LAIONWEB_TOKEN" \
  http://127.0.0.1:8000/api/refine/ --json '{
    "dataset": "postcards",
    "terms": [{"text": "a boat"}],
    "good": [7, 357],
    "bad": [2, 410],
    "limit": 2
  }'
