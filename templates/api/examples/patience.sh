# With --retry curl waits as long as Retry-After says, and asks again.
curl -sS --retry 5 -H "Authorization: Token $LAIONWEB_TOKEN" \
  'http://127.0.0.1:8000/api/search/?dataset=postcards&q=boat&limit=3'
