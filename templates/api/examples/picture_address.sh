curl -sS -H "Authorization: Token $LAIONWEB_TOKEN" \
  http://127.0.0.1:8000/api/search/ --json '{
    "dataset": "postcards",
    "terms": [{"image_url": "http://127.0.0.1:8000/postcards/7.jpg"}],
    "limit": 2
  }'
