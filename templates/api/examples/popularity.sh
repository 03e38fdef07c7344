curl -sS -H "Authorization: Token $LAIONWEB_TOKEN" -G \
  http://127.0.0.1:8000/api/popularity/ \
  --data-urlencode 'dataset=postcards' \
  --data-urlencode 'items=318,227,358'
