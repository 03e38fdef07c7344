# Another dataset over the source of one that is there.
settings() {
  curl -sS -H "Authorization: Token $LAIONWEB_TOKEN" \
    http://127.0.0.1:8000/api/datasets/postcards/ | value settings "$1"
}
curl -sS -H "Authorization: Token $LAIONWEB_TOKEN" \
  http://127.0.0.1:8000/api/datasets/ --json '{
    "slug": "once_more",
    "title": "Once more",
    "source": "'"$(settings source)"'",
    "model": "'"$(settings model)"'",
    "without_removal_list": true
  }' | value slug

curl -sS -H "Authorization: Token $LAIONWEB_TOKEN" \
  http://127.0.0.1:8000/api/datasets/once_more/shards/start/ --json '{"shards": "0"}'

# It goes on in the background: see how far it is.
curl -sS -H "Authorization: Token $LAIONWEB_TOKEN" \
  http://127.0.0.1:8000/api/datasets/once_more/progress/

# Only a test: it is stopped, and dropped again.
curl -sS -H "Authorization: Token $LAIONWEB_TOKEN" \
  http://127.0.0.1:8000/api/datasets/once_more/shards/cancel/ --json '{}'
curl -sS -H "Authorization: Token $LAIONWEB_TOKEN" \
  -X DELETE 'http://127.0.0.1:8000/api/datasets/once_more/?sure=once_more'
