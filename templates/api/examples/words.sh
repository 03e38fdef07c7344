curl -sS -H "Authorization: Token $LAIONWEB_TOKEN" -G \
  http://127.0.0.1:8000/api/search/ \
  --data-urlencode 'dataset=postcards' \
  --data-urlencode 'q=sailing boat -night' \
  --data-urlencode 'limit=2'
