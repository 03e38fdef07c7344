from clip_retrieval.clip_client import ClipClient, Modality

client = ClipClient(
    url="http://127.0.0.1:8000/knn-service",
    indice_name="postcards",
    modality=Modality.IMAGE,
    num_images=3,
)
for hit in client.query(text="a sailing boat"):
    print(f"{hit['similarity']:.2f}  {hit['id']:>4}  {hit['caption']}")
