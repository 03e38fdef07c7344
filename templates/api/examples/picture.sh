# A picture to search by: the small one of item 7.
curl -sS -o picture.webp http://127.0.0.1:8000/t/postcards/7/320.webp

printf '{"dataset": "postcards", "limit": 3, "terms": [{"image": "%s"}]}' \
  "$(base64 < picture.webp | tr -d '\n')" |
curl -sS -H "Authorization: Token $LAIONWEB_TOKEN" --json @- \
  http://127.0.0.1:8000/api/search/
