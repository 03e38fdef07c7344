# With "include" an answer holds the embeddings of what it found, too.
EMBEDDING=$(curl -sS -H "Authorization: Token $LAIONWEB_TOKEN" \
  http://127.0.0.1:8000/api/search/ --json '{
    "dataset": "postcards",
    "terms": [{"text": "a windmill"}],
    "include": ["embedding"],
    "limit": 1
  }' | value results 0 embedding)

curl -sS -H "Authorization: Token $LAIONWEB_TOKEN" \
  http://127.0.0.1:8000/api/search/ --json '{
    "dataset": "postcards",
    "terms": [{"embedding": '"$EMBEDDING"'}],
    "limit": 2
  }'
