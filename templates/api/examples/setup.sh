export LAIONWEB_TOKEN='your token'

# Picks one value out of an answer, as in: … | value results 0 id
value() {
  python3 -c 'import json, sys
found = json.load(sys.stdin)
for key in sys.argv[1:]:
    found = found[int(key) if key.isdigit() else key]
print(found if isinstance(found, str) else json.dumps(found))' "$@"
}
