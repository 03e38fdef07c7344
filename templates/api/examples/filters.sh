curl -sS -H "Authorization: Token $LAIONWEB_TOKEN" \
  http://127.0.0.1:8000/api/search/ --json '{
    "dataset": "postcards",
    "terms": [{"text": "a boat"}],
    "filters": {
      "orientation": "landscape",
      "min_width": 512,
      "caption": "sea",
      "exclude": [7]
    },
    "limit": 2
  }'
