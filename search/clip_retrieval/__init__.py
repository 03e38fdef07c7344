"""The HTTP interface of clip-retrieval, so that its clients work against us unchanged.

Its ClipClient and its page clip-front ask POST /knn-service, POST /metadata and
GET /indices-list. Where the original is careless, this is not: what a dataset marks as
unsafe is left out unless that is switched off, pictures are fetched from public
addresses alone, and every refusal is a status with {"message": sentence}.
"""
