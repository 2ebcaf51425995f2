"""langchain-qdrant, unmodified: the vector store as its users write it."""
import hashlib
import unittest
import uuid

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_qdrant import QdrantVectorStore, RetrievalMode, SparseEmbeddings, SparseVector
from langchain_qdrant.qdrant import QdrantVectorStoreError
from qdrant_client import QdrantClient, models

from common import DIM, URL, embed, main

NAME = "langchain"
TEXTS = ["red apple", "green apple", "red car", "blue car", "blue sky", "green tree", "old tree", "new house"]


class FakeEmbeddings(Embeddings):
    def embed_documents(self, texts):
        return [embed(t) for t in texts]

    def embed_query(self, text):
        return embed(text)


class FakeSparse(SparseEmbeddings):
    """A word is an index."""

    def embed_documents(self, texts):
        return [self.embed_query(t) for t in texts]

    def embed_query(self, text):
        words = sorted({int(hashlib.sha256(w.encode()).hexdigest()[:6], 16) for w in text.split()})
        return SparseVector(indices=words, values=[1.0] * len(words))


class LangChain(unittest.TestCase):
    def setUp(self):
        self.ids = [uuid.uuid5(uuid.NAMESPACE_OID, t).hex for t in TEXTS]
        self.store = QdrantVectorStore.from_texts(
            TEXTS, FakeEmbeddings(), metadatas=[{"n": i, "colour": t.split()[0]} for i, t in enumerate(TEXTS)],
            ids=self.ids, url=URL, prefer_grpc=False, collection_name=NAME, force_recreate=True)

    def texts(self, documents):
        return [d.page_content for d in documents]

    def test_search(self):
        self.assertEqual(self.texts(self.store.similarity_search("red apple", k=1)), ["red apple"])
        found = self.store.similarity_search_with_score("blue sky", k=2)
        self.assertEqual(found[0][0].page_content, "blue sky")
        self.assertAlmostEqual(found[0][1], 1.0, places=5)
        self.assertEqual(found[0][0].metadata["colour"], "blue")
        by_vector = self.store.similarity_search_by_vector(embed("old tree"), k=1)
        self.assertEqual(self.texts(by_vector), ["old tree"])
        close = self.store.similarity_search_with_relevance_scores("new house", k=8, score_threshold=0.99)
        self.assertEqual(len(close), 1)

    def test_filter(self):
        condition = models.Filter(must=[models.FieldCondition(key="metadata.colour",
                                                              match=models.MatchValue(value="green"))])
        found = self.texts(self.store.similarity_search("red apple", k=5, filter=condition))
        self.assertEqual(sorted(found), ["green apple", "green tree"])
        self.assertEqual(found[0], "green apple")
        retriever = self.store.as_retriever(search_kwargs={"k": 1, "filter": condition})
        self.assertEqual(self.texts(retriever.invoke("some tree")), ["green tree"])

    def test_mmr(self):
        found = self.texts(self.store.max_marginal_relevance_search("red apple", k=3, fetch_k=8, lambda_mult=0.8))
        self.assertEqual((found[0], len(found), len(set(found))), ("red apple", 3, 3))
        self.assertNotEqual(found, self.texts(self.store.similarity_search("red apple", k=3)))

    def test_add_get_delete(self):
        added = self.store.add_documents([Document(page_content="purple rain", metadata={"n": 100})])
        self.assertEqual(self.texts(self.store.similarity_search("purple rain", k=1)), ["purple rain"])
        got = self.store.get_by_ids(added)
        self.assertEqual((got[0].page_content, got[0].metadata["n"]), ("purple rain", 100))
        self.assertTrue(self.store.delete(added + self.ids[:2]))
        self.assertEqual(self.store.get_by_ids(added), [])
        self.assertNotIn("red apple", self.texts(self.store.similarity_search("red apple", k=10)))

    def test_scroll_and_payload_operations(self):
        """What the store leaves to its client."""
        client, red = self.store.client, models.Filter(must=[models.FieldCondition(
            key="metadata.colour", match=models.MatchValue(value="red"))])
        client.set_payload(NAME, payload={"seen": True}, key="metadata", points=red)
        client.delete_payload(NAME, keys=["metadata.n"], points=red)
        page, after = client.scroll(NAME, scroll_filter=red, limit=10)
        self.assertEqual(sorted(p.payload["page_content"] for p in page), ["red apple", "red car"])
        self.assertEqual(([p.payload["metadata"] for p in page], after), ([{"colour": "red", "seen": True}] * 2, None))
        found = self.store.similarity_search("red apple", k=1)[0]
        self.assertEqual((found.metadata["seen"], "n" in found.metadata), (True, False))

    def hybrid(self, mode):
        return QdrantVectorStore.from_texts(
            TEXTS, None if mode == RetrievalMode.SPARSE else FakeEmbeddings(), metadatas=[{"n": i} for i in range(8)], ids=self.ids,
            sparse_embedding=FakeSparse(), retrieval_mode=mode, url=URL, collection_name=NAME + "-hybrid", force_recreate=True)

    def test_hybrid(self):
        store = self.hybrid(RetrievalMode.HYBRID)
        self.assertEqual(self.texts(store.similarity_search("red apple", k=1)), ["red apple"])
        # both lists begin with it: 1/2 + 1/2 by reciprocal rank
        self.assertAlmostEqual(store.similarity_search_with_score("blue sky", k=1)[0][1], 1.0, places=5)
        low = models.Filter(must=[models.FieldCondition(key="metadata.n", range=models.Range(lt=4))])
        self.assertEqual(self.texts(store.similarity_search("blue sky", k=1, filter=low)), ["blue car"])
        store.delete(self.ids[:1])
        self.assertNotIn("red apple", self.texts(store.similarity_search("red apple", k=8)))
        self.assertEqual(self.texts(QdrantVectorStore.from_existing_collection(
            NAME + "-hybrid", FakeEmbeddings(), url=URL, retrieval_mode=RetrievalMode.HYBRID,
            sparse_embedding=FakeSparse()).similarity_search("new house", k=1)), ["new house"])

    def test_sparse(self):
        store = self.hybrid(RetrievalMode.SPARSE)
        found = store.similarity_search_with_score("old car", k=8)
        self.assertEqual({d.page_content: s for d, s in found}, {"red car": 1.0, "blue car": 1.0, "old tree": 1.0})

    def test_existing_collection_and_alias(self):
        client = QdrantClient(url=URL)
        client.update_collection_aliases(change_aliases_operations=[models.CreateAliasOperation(
            create_alias=models.CreateAlias(collection_name=NAME, alias_name="current"))])
        store = QdrantVectorStore.from_existing_collection("current", FakeEmbeddings(), url=URL)
        self.assertEqual(self.texts(store.similarity_search("old tree", k=1)), ["old tree"])
        with self.assertRaises(QdrantVectorStoreError):  # dimensions that do not fit are noticed
            class Other(FakeEmbeddings):
                def embed_query(self, text):
                    return embed(text, DIM + 1)

                def embed_documents(self, texts):
                    return [embed(t, DIM + 1) for t in texts]
            QdrantVectorStore.from_existing_collection("current", Other(), url=URL)


class LangChainAsync(unittest.IsolatedAsyncioTestCase):
    async def test_async(self):
        store = await QdrantVectorStore.afrom_texts(TEXTS, FakeEmbeddings(), url=URL, collection_name=NAME + "-async",
                                                    force_recreate=True)
        found = await store.asimilarity_search("old tree", k=1)
        self.assertEqual([d.page_content for d in found], ["old tree"])


if __name__ == "__main__":
    main()
