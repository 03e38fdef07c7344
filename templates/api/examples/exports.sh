EXPORT=$(curl -sS -H "Authorization: Token $LAIONWEB_TOKEN" \
  http://127.0.0.1:8000/api/exports/ --json '{
    "kind": "search",
    "form": "csv",
    "search": {"dataset": "postcards", "terms": [{"text": "a boat"}], "limit": 50}
  }' | value id)

# Large ones are made in the background.
answer() {
  curl -sS -H "Authorization: Token $LAIONWEB_TOKEN" \
    "http://127.0.0.1:8000/api/exports/$EXPORT/"
}
while true; do
  STATE=$(answer | value state)
  case $STATE in queued|running) sleep 1;; *) break;; esac
done

FILE=$(answer | value files 0 name)
curl -sS -H "Authorization: Token $LAIONWEB_TOKEN" -o "$FILE" \
  "http://127.0.0.1:8000/api/exports/$EXPORT/files/$FILE"
echo "$(answer | value files 0 sha256)  $FILE" | sha256sum --check
