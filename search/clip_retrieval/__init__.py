"""The HTTP API of clip-retrieval, so that its clients work unchanged with this site.

Its ClipClient and its page clip-front send POST /knn-service, POST /metadata and
GET /indices-list. This implementation is stricter than the original: items marked as
unsafe are left out unless that is switched off, images are fetched from public
addresses only, and every error is a status with {"message": sentence}.
"""
