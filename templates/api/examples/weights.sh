curl -sS -H "Authorization: Token $LAIONWEB_TOKEN" \
  http://127.0.0.1:8000/api/search/ --json '{
    "dataset": "postcards",
    "terms": [
      {"text": "a boat"},
      {"text": "sunset", "weight": 0.8},
      {"text": "a storm", "weight": -0.5}
    ],
    "limit": 2
  }'
