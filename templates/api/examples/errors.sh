curl -sS -H "Authorization: Token $LAIONWEB_TOKEN" -w '\n%{http_code}\n' \
  http://127.0.0.1:8000/api/search/ --json '{
    "dataset": "nowhere",
    "terms": [{"text": "a boat"}]
  }'
