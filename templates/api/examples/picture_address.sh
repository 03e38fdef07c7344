curl -sS -H "Authorization: Token $LAIONWEB_TOKEN" \
  http://127.0.0.1:8000/api/search/ --json '{
    "dataset": "postcards",
    "terms": [{"image_url": "http://127.0.0.1:8000/t/postcards/7/320.webp"}],
    "limit": 2
  }'
