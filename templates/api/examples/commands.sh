# A list in a terminal; with --json what the API would answer.
.venv/bin/python manage.py search "sailing boat -night" --dataset postcards --limit 2

# Go on with the same command if it is interrupted.
.venv/bin/python manage.py export search "a sailing boat" --dataset postcards \
  --limit 100 --form csv --out boats
.venv/bin/python manage.py export dataset postcards --filters "similarity>0.45" \
  --embeddings --out well-described
